# baseload 0.1.0, from baseload.yaml. Made by `baseload render`; change the fleet file and render again.
# What `prod` is told: terraform plan -var-file=prod.tfvars

environment = "prod"

# Machines at least.
replicas = 1

# Machines at most.
replicas_max = 4

# Told of before it is passed; null: no budget.
budget_usd_month = 86128

# What everything is called.
name = "baseload"

# Where it runs, and what stands by.
region         = "eastus"
standby_region = "westus3"
standby        = "cold"

# Its name and its key.
zone                 = "example.com"
host                 = "engine.azure.example.com"
engine_key_reference = "$${AZURE_ENGINE_KEY}"

# Empty: Ubuntu HPC, which has drivers and Docker.
image = ""

# 8 x h100. On demand 98.32 USD/h, in eastus on 2026-11-09.
# Spot some 19.02 USD/h, on 2025-12-18.
# Source: https://github.com/skypilot-org/skypilot-catalog catalogs/v6/azure/vms.csv (098741e7); https://raw.githubusercontent.com/datareceipts/data-receipts/main/109-gpu-pricing/README.md
instance_type = "Standard_ND96isr_H100_v5"

# Machines above the floor, where spot; how scaled.
spot    = true
floor   = 1
scaling = "target"

# Weights of 66 GB.
data_volume_gb = 79

# What runs on each machine.
engine_name  = "azure"
engine_image = "vllm/vllm-openai:v0.24.0"
engine_args = [
  "vllm",
  "serve",
  "/weights",
  "--served-model-name",
  "r1-32b",
  "--host=0.0.0.0",
  "--port=8000",
  "--tensor-parallel-size=8",
  "--pipeline-parallel-size=1",
  "--max-model-len=16384",
  "--max-num-seqs=119",
  "--gpu-memory-utilization=0.9",
  "--enable-prefix-caching",
  "--shutdown-timeout=600",
  "--dtype=bfloat16",
]

# Calls at once, with 16384 tokens each.
sequences = 119

# Reckoned: 106 to 324 s from a machine to its first token.
start_s = 325

# The longest that the fleet file allows a call.
answer_s = 600

# The account that is made.
bucket = "baseloadweights"

# SHA256SUMS lies beside the weights.
weights_container = "weights"
weights_path      = "r1-32b"

# A queue for jobs that can wait.
patient = true

# Who hears alarms.
alarm_email = "oncall@example.com"
