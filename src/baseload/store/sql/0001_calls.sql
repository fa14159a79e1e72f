CREATE TABLE calls (
    at DOUBLE PRECISION NOT NULL,
    request_id TEXT NOT NULL,
    key_name TEXT NOT NULL,
    api TEXT NOT NULL,
    model TEXT NOT NULL,
    served TEXT NOT NULL,
    backend TEXT NOT NULL,
    outcome TEXT NOT NULL,
    priority SMALLINT NOT NULL,
    attempts SMALLINT NOT NULL,
    resumes SMALLINT NOT NULL,
    is_hedged SMALLINT NOT NULL,
    is_stream SMALLINT NOT NULL,
    queue_s DOUBLE PRECISION NOT NULL,
    first_token_s DOUBLE PRECISION,
    total_s DOUBLE PRECISION NOT NULL,
    prompt_tokens BIGINT NOT NULL,
    cached_tokens BIGINT NOT NULL,
    completion_tokens BIGINT NOT NULL,
    reasoning_tokens BIGINT NOT NULL,
    is_estimated SMALLINT NOT NULL,
    cost_usd DOUBLE PRECISION
);
CREATE INDEX calls_at ON calls (at);
CREATE TABLE ledger_writers (
    name TEXT PRIMARY KEY,
    batch BIGINT NOT NULL,
    at DOUBLE PRECISION NOT NULL
);
