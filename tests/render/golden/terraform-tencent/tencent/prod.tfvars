# baseload 0.1.0, from baseload.yaml. Made by `baseload render`; change the fleet file and render again.
# What `prod` is told: terraform plan -var-file=prod.tfvars

environment = "prod"

# Machines at least.
replicas = 1

# Machines at most.
replicas_max = 4

# Told of before it is passed; null: no budget.
budget_usd_month = null

# What everything is called.
name = "baseload"

# Where it runs, and what stands by.
region         = "ap-guangzhou"
standby_region = "ap-shanghai"
standby        = "cold"

# Yours to fill in: zones that have such machines, as ap-guangzhou-3.
zones         = []
standby_zones = []

# Its name and its key.
zone                 = "example.com"
host                 = "engine.tencent.example.com"
engine_key_reference = "$${TENCENT_ENGINE_KEY}"

# Yours to fill in: of this name.
certificate_id = ""

# Empty: a person fails over, not IGTM.
igtm_package = ""

# Yours to fill in; no image is guessed. CVM's.
image = ""

# Yours to fill in; no image is guessed. Images are of one region.
standby_image = ""

# 8 x v100-32. No price of it is known.
instance_types = [
  "GN10Xp.20XLARGE320",
]

# Machines above the floor, where spot; how scaled.
spot    = false
floor   = 1
scaling = "target"

# 70% of the calls at once, 20 tokens/s each, 300 bytes a token.
out_mbps = 7

# Images, and weights of 15 GB.
data_volume_gb = 120

# What runs on each machine.
engine_name  = "tencent"
engine_image = "vllm/vllm-openai:v0.24.0"
engine_args = [
  "vllm",
  "serve",
  "/weights",
  "--served-model-name",
  "r1-7b",
  "--host=0.0.0.0",
  "--port=8000",
  "--tensor-parallel-size=4",
  "--pipeline-parallel-size=2",
  "--max-model-len=16384",
  "--max-num-seqs=205",
  "--gpu-memory-utilization=0.9",
  "--enable-prefix-caching",
  "--shutdown-timeout=600",
  "--dtype=half",
]

# Calls at once, with 16384 tokens each.
sequences = 205

# Reckoned: 91 to 303 s from a machine to its first token.
start_s = 304

# The longest that the fleet file allows a call.
answer_s = 600

# Made here; the account's number is added.
bucket = "baseload-weights"

# SHA256SUMS lies beside the weights.
weights_bucket = "weights-1250000000"
weights_region = "ap-guangzhou"
weights_prefix = "r1-7b/"

# A folder for jobs that can wait.
patient = true

# Yours to fill in: ids of CAM users, who have addresses there, as oncall@example.com.
alarm_users = []
