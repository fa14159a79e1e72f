CREATE TABLE keys (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    terms TEXT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    revoked_at DOUBLE PRECISION
);
CREATE UNIQUE INDEX keys_name ON keys (name) WHERE revoked_at IS NULL;
CREATE TABLE key_secrets (
    sha256 TEXT PRIMARY KEY,
    key_id TEXT NOT NULL REFERENCES keys (id),
    shown TEXT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    ends_at DOUBLE PRECISION
);
CREATE INDEX key_secrets_key ON key_secrets (key_id);
CREATE TABLE key_changes (number BIGINT NOT NULL);
INSERT INTO key_changes VALUES (0);
