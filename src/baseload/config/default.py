"""The fleet that runs when there is no file, and the file that `baseload init` writes: one text.

Keeping them one means that a newcomer's first `baseload up` and their first file agree, and that
the text is parsed each time someone starts without a file. DeepSeek's API takes part when its key
is in the environment; otherwise its lines are there, but commented out, so that the file works as
written.

The part that says where it is to run is long, and stands in a file of its own, `deploy.yaml`.

Which models an engine knows is the engine's matter, not checked here.
"""

from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Final

from baseload.config.fleet import Fleet
from baseload.config.reading import parse_fleet

DEEPSEEK_KEY: Final = "DEEPSEEK_API_KEY"
"""The variable that, when it holds something, puts DeepSeek's API in front."""
_FILE: Final = "the built-in fleet"
_DEPLOY_FILE: Final = "deploy.yaml"

# `@with ` marks lines that need DeepSeek's key, `@without ` those that stand in for them.
_TEXT: Final = """\
# The fleet: where models run, and under which names callers reach them.
# `baseload check` names every mistake in this file; `baseload up` serves it.
# Lines that begin with `#` show what else can be set, mostly with the value it has anyway.
# Text can name an environment variable: "${NAME}", or "${NAME:-what to use without it}".

listen: 127.0.0.1:8080          # where callers connect; 0.0.0.0:8080 for other machines, with keys
admin: 127.0.0.1:9090           # where operators look: health, metrics, status

backends:                       # places where models run, by a name of your choice
  @with deepseek:
  @with   url: https://api.deepseek.com/v1     # base URL of an OpenAI-compatible API, up to /v1
  @with   api_key: "${DEEPSEEK_API_KEY}"       # sent as a bearer token; keep keys out of this file
  @with   concurrency: 500                     # calls at once; 256 when absent
  cpu:
    engine: llama.cpp           # a model server that baseload starts itself
    model: smollm2-135m-instruct  # what it loads: a known model's name, a .gguf file, or a folder
    # serve: {}                 # how it is started and warmed, where the choice is not baseload's:
    #   precision: auto         # of weights: fp32, bf16, fp16, fp8, int8, int4; as they come
    #   tensor_parallel: 1      # GPUs that share each layer
    #   pipeline_parallel: 1    # groups of GPUs that share the layers
    #   context: 16384          # tokens of one call, answer included
    #   slots: 128              # calls at once that it is started for
    #   kv: auto                # of the KV cache: fp16, fp8, q8_0, q4_0
    #   prefix_cache: true      # keep what prompts that begin alike have in common
    #   draft: small.gguf       # a small model for speculative decoding
    #   draft_tokens: 4         # tokens that the small model is ahead
    #   gpus: [0]               # by number; all that are found if absent
    #   gpu_memory: 0.9         # part of each GPU's memory that it takes
    #   mps_threads: 50         # shares its GPU by MPS: its part of threads, in %
    #   ready_max_s: 900        # its start may take so long
    #   stall_max_s: 180.0      # hangs if it makes no token for so long (vllm); 0: never
    #   program: [vllm, serve]  # what is run instead of the engine's usual command
    #   arguments: []           # arguments after those that are chosen
    #   environment: {}         # variables of its process, no secrets
    #   warm:                   # what it does before its first caller
    #     prompts: [16, 256, 1024]  # lengths of prompts that are expected, in tokens
    #     system: []            # system prompts that are read into the prefix cache
    #     idle_s: 900.0         # warmed again after so long without a call; 0: never
    # batch:                    # how much it is given at once; the best is learnt in these bounds
    #   min: 2                  # calls at once, at least
    #   max: 128                # calls at once, at most
    #   first_token_s: 2.0      # first tokens are to come within; no objective if absent
    #   token_s: 0.1            # time between two tokens is to stay under; the same
    #   prefill_tokens: 8192    # tokens of prompts being read at once, at most; chosen if absent
    #   kv_tokens: 65536        # tokens that its KV cache holds; as the engine tells if absent
  # edge:
  #   url: https://gpu-1.example:8000/v1
  #   anthropic_path: /v1/messages  # where it speaks Anthropic's Messages API, if it does, on the
  #                             # same host: then such calls are not translated for it
  #   responses_path: /v1/responses  # the same for OpenAI's Responses API
  #   connect_s: 3.0            # longest wait for a connection
  #   ca: private-ca.pem        # PEM file of a private CA, for https
  #   account: lab              # backends with equal `account` share one limit on calls at once
  #   probe_s: 5.0              # seconds between looks at its health and load; 0: none
  #   cold_start_s: 0.0         # longest it takes to come up from zero replicas; calls wait that
  #                             # long for it instead of being refused; 0: it never is at zero
  #   prefill: auto             # how it can be asked to go on with a text that broke off: prefix,
  #                             # continue_final_message, assistant; or off
  # rented: {url: https://engine.example.com/v1, api_key: "${ENGINE_KEY}"}

models:                         # what callers may write as `model`
  smollm2-135m-instruct:
    tiers:                      # tried in order; the first that can take a call does
      - cpu:
          model: smollm2-135m-instruct  # the model's name at this backend
          # thinking: disabled  # whether it thinks first, where the caller does not say
          # share: 100          # part of the tier's calls, against other backends in the tier
          # weights: smollm2    # backends with equal `weights` hold the very same model
          # cost_usd_mtok: 0.4  # price of a million tokens; calls spill to cheap siblings
    first_token_s: 60           # longest wait for the first token; 30 when absent. The last backend
    #                             that could be asked gets twice as long
    # headers_s: 10.0           # longest wait for an answer's head; as first_token_s when absent
    # first_byte_s: 10.0        # longest wait for a first byte of any kind; the same
    # stall_s: 30.0             # longest silence between two tokens
    # total_s: 600.0            # longest a call may take, queue included
    # resume: same_weights      # where an answer that broke may be continued: or any, off
    # keepalive_s: 15.0         # silence after which a waiting stream is sent a comment; 0: never
    # hedge: 0.05               # share of live calls that may have a second attempt; 0 when absent
    # assemble: true            # ask for a stream where the caller does not, and put it together
    # share_identical: false    # let identical calls in flight share one answer
    # limits: {}                # rpm, tpm, concurrency, usd_day, usd_month of all callers together
  deepseek-chat:
    tiers:
      @with - deepseek: {model: deepseek-flash, thinking: disabled}
      - cpu: {model: smollm2-135m-instruct}
    @without first_token_s: 60
  deepseek-reasoner:
    tiers:
      @with - deepseek: {model: deepseek-flash, thinking: enabled}
      - cpu: {model: smollm2-135m-instruct}
    @without first_token_s: 60

# drain_s: 30.0                 # longest wait for open answers when baseload is told to stop
# state_dir: ~/.local/state/baseload  # where engines' logs are kept

# queue:                        # where calls wait when every backend they could use is full
#   size: 1024                  # calls that may wait at once, all models together
#   wait_s: 30.0                # longest wait before a call is refused

# inbound:                      # what a caller's connection may cost the gateway
#   body_mb: 32.0               # largest request body
#   header_kb: 32.0             # largest request head, all headers together
#   header_s: 10.0              # longest time from a request's first byte to its last header
#   body_s: 30.0                # longest silence while a request body is being sent
#   idle_s: 75.0                # longest idle time of a kept connection
#   unread_s: 60.0              # longest time that a caller may leave its answer unread
#   connections: 8192           # open connections at once

# tls:                          # serve callers over https
#   cert: fullchain.pem         # PEM file, the chain included
#   key: privkey.pem            # PEM file of the private key

# overload:                     # when a backend counts as overloaded, and others are asked first
#   error_rate: 0.05            # above this share of failed calls
#   latency_s: 0.2              # above this time for a health ping
#   queued_s: 5.0               # above this time in the provider's own queue

# open_to_all: false            # serve callers without keys off loopback, too, when there are none
# admin_token: "${BASELOAD_ADMIN_TOKEN}"  # what operators show on `admin`; needed off loopback

# log:                          # what is written to standard error
#   format: console             # for people; or json, an object a line
#   level: info                 # the least that is written: debug, info, warning, error
#   calls: false                # a line for each finished call, without content
#   bodies: false               # for debugging only: PROMPTS AND ANSWERS are written, in clear text

# otel:                         # OpenTelemetry; needs `pip install baseload[otel]`
#   endpoint: null              # base URL of an OTLP/HTTP receiver, http://127.0.0.1:4318
#   sample: 1.0                 # share of calls that are traced, unless a caller's own trace is
#   headers: {}                 # headers for the receiver, its token, say
#   service: baseload           # the name under which it appears

# keys:                         # callers' keys; others are made with `baseload keys create`
#   - name: team-a              # whom the key belongs to
#     sha256: ""                # SHA-256 of the key: printf %s KEY | sha256sum
#     rpm: 600                  # calls in any minute
#     tpm: 1000000              # tokens in any minute
#     concurrency: 32           # calls at once
#     usd_day: 50.0             # US dollars a day (UTC)
#     usd_month: 1000.0         # US dollars a calendar month (UTC)
#     priority: default         # the class of its calls, and the most urgent they may ask for:
#                               # interactive, default, batch
#     models: []                # models it may use; empty: all
#     expires: 2027-01-31       # the first day (UTC) on which it is refused
#     labels: {}                # notes of your own
#     per_model: {}             # limits like those above, for single models

# prices:                       # what backends charge, where it is not known already
#   - backend: edge             # the backend's name in this file
#     model: deepseek-v3        # the model's name at that backend
#     since: 2026-11-01         # the day (UTC) from which it holds; or a minute: 2026-11-01T16:00
#     input_usd_mtok: 0.27      # a million tokens of prompts
#     cached_usd_mtok: 0.07     # those that were in its cache; as input_usd_mtok when absent
#     output_usd_mtok: 1.1      # a million tokens of answers, reasoning included
#     peak:                     # hours in which it charges more
#       hours: ["01:00-04:00"]  # from and to, in UTC
#       factor: 2.0             # what prices are multiplied by
#       weekdays_only: false    # weekends have no such hours
#       off_days: []            # nor have these days (UTC)

# jobs:                         # batches (/v1/batches) and their files
#   concurrency: 32             # requests of batches at once, at most
#   keep_days: 30               # days until they are deleted
#   storage_mb: 1024            # what one key may keep in files

# store:                        # where what must outlive a process is kept
#   ledger: sqlite:///baseload.db  # calls, keys, batches; or postgresql://user@host/database
#   keep_days: 400              # days after which calls are deleted from the ledger; 0: never
#   counters: memory://         # where limits are counted; redis://host:6379/0 for several replicas
"""


def init_text(*, with_deepseek: bool = False) -> str:
    """Return a fleet file that explains every field.

    Without DeepSeek it needs nothing from the environment; with it, it needs DEEPSEEK_KEY.
    """
    on, off = ("", "# ") if with_deepseek else ("# ", "")
    return _TEXT.replace("@with ", on).replace("@without ", off) + _deploy()


@cache
def _deploy() -> str:
    """Give the example of where a fleet is to run, commented out."""
    text = resources.files(__package__).joinpath(_DEPLOY_FILE).read_text(encoding="utf-8")
    return "\n" + "".join(f"# {line}\n" for line in text.splitlines())


def wants_deepseek(env: Mapping[str, str]) -> bool:
    """Whether the environment holds a key for DeepSeek's API."""
    return bool(env.get(DEEPSEEK_KEY))


def default_fleet(env: Mapping[str, str]) -> Fleet:
    """Return the fleet that is served when there is no file."""
    return parse_fleet(init_text(with_deepseek=wants_deepseek(env)), _FILE, env)
