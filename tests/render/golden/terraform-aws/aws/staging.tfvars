# baseload 0.1.0, from baseload.yaml. Made by `baseload render`; change the fleet file and render again.
# What `staging` is told: terraform plan -var-file=staging.tfvars

environment = "staging"

# Machines at least.
replicas = 0

# Machines at most.
replicas_max = 1

# Told of before it is passed; null: no budget.
budget_usd_month = 2000

# What everything is called.
name = "baseload"

# Where it runs, and what stands by.
region         = "us-east-1"
standby_region = "us-west-2"
standby        = "warm"

# Its name and its key.
zone                 = "example.com"
host                 = "staging.engine.aws.example.com"
engine_key_reference = "$${AWS_ENGINE_KEY}"

# Yours to fill in; no image is guessed. An AMI.
image = ""

# Yours to fill in; no image is guessed. AMIs are of one region.
standby_image = ""

# 8 x h100. On demand 55.04 USD/h, in us-east-1 on 2026-11-09.
# Spot some 21.1543 USD/h, on 2026-01-20.
# Source: https://github.com/skypilot-org/skypilot-catalog catalogs/v8/aws/vms.csv (00148f2a); https://raw.githubusercontent.com/datareceipts/data-receipts/main/109-gpu-pricing/hyperscalers.json
instance_types = [
  "p5.48xlarge",
]

# Machines above the floor, where spot; how scaled.
spot              = true
floor             = 1
spot_max_usd_hour = null
scaling           = "target"

# Images, and weights of 66 GB.
data_volume_gb = 179

# What runs on each machine.
engine_name  = "aws"
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

# Made here; empty: none is.
bucket = "baseload-weights-staging"

# SHA256SUMS lies beside the weights.
weights_bucket = "baseload-weights-staging"
weights_prefix = "r1-32b/"

# A queue for jobs that can wait.
patient = true

# Who hears alarms.
alarm_email = "oncall@example.com"
