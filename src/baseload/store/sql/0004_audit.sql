CREATE TABLE audit (
    at DOUBLE PRECISION NOT NULL,
    request_id TEXT NOT NULL,
    who TEXT NOT NULL,
    address TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    was TEXT NOT NULL,
    became TEXT NOT NULL,
    result TEXT NOT NULL
);
CREATE INDEX audit_at ON audit (at);
