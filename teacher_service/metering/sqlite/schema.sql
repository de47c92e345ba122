-- The SQLite ledger. Amounts are queries, times are milliseconds since 1970, digests are 32 raw bytes.
-- Budgets, holds, charges and the chain stand in one file so that one transaction changes them together.

-- The name of this store, given to it once, by which a service knows it again; and the public key whose
-- receipts its clients hold.
CREATE TABLE store (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    epoch      TEXT    NOT NULL,
    public_key TEXT
) STRICT;
INSERT INTO store (id, epoch) VALUES (1, lower(hex(randomblob(16))));

CREATE TABLE keys (
    key_no        INTEGER PRIMARY KEY,
    key_id        TEXT    NOT NULL UNIQUE,
    name          TEXT    NOT NULL,
    salt          BLOB    NOT NULL,
    secret_hash   BLOB    NOT NULL,
    billing       TEXT    NOT NULL CHECK (billing IN ('distinct', 'every-call')),
    rate          TEXT    NOT NULL,
    budget        INTEGER NOT NULL CHECK (budget >= 0),  -- in all, or for each window
    "window"      TEXT    NOT NULL CHECK ("window" IN ('total', 'hour', 'day')),
    used          INTEGER NOT NULL DEFAULT 0 CHECK (used >= 0),  -- in all
    window_index  INTEGER NOT NULL,  -- the latest window that anything was charged in
    used_in_window INTEGER NOT NULL DEFAULT 0 CHECK (used_in_window BETWEEN 0 AND used),
    held          INTEGER NOT NULL DEFAULT 0 CHECK (held >= 0),
    revoked       INTEGER NOT NULL DEFAULT 0 CHECK (revoked IN (0, 1)),
    created_at_ms INTEGER NOT NULL,
    seq           INTEGER NOT NULL,  -- of the last event
    head          BLOB    NOT NULL,  -- chain hash of the last event
    CHECK (used_in_window + held <= budget)
) STRICT;

-- The chain, one per key. Records are canonical JSON, exactly the bytes that were hashed.
CREATE TABLE events (
    key_no INTEGER NOT NULL REFERENCES keys,
    seq    INTEGER NOT NULL,
    record BLOB    NOT NULL,
    hash   BLOB    NOT NULL,
    PRIMARY KEY (key_no, seq)
) STRICT;

-- Guards against our own mistakes, not against an owner of the file: those are found by the receipts.
CREATE TRIGGER events_are_never_changed BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'a ledger record cannot be changed'); END;
CREATE TRIGGER events_are_never_deleted BEFORE DELETE ON events
BEGIN SELECT RAISE(ABORT, 'a ledger record cannot be deleted'); END;

-- What was paid for. `charges` is 1 under billing 'distinct'; the sum over a key is its `used`.
CREATE TABLE charged (
    key_no   INTEGER NOT NULL REFERENCES keys,
    revision BLOB    NOT NULL,
    image    BLOB    NOT NULL,
    charges  INTEGER NOT NULL CHECK (charges >= 1),
    PRIMARY KEY (key_no, revision, image)
) STRICT, WITHOUT ROWID;

-- Settled requests by day of UTC (days since 1970), a sum of the events that saves reading them.
CREATE TABLE usage_by_day (
    key_no   INTEGER NOT NULL REFERENCES keys,
    day      INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    charged  INTEGER NOT NULL,
    replayed INTEGER NOT NULL,
    PRIMARY KEY (key_no, day)
) STRICT, WITHOUT ROWID;

-- Reservations that were neither settled nor released; they expire with their lease.
CREATE TABLE holds (
    hold_id       TEXT    PRIMARY KEY,
    key_no        INTEGER NOT NULL REFERENCES keys,
    charges       INTEGER NOT NULL CHECK (charges >= 0),
    created_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX holds_by_expiry ON holds (key_no, expires_at_ms);

-- Under billing 'distinct' an image stands under at most one live hold of a key and revision.
CREATE TABLE held_images (
    key_no   INTEGER NOT NULL,
    revision BLOB    NOT NULL,
    image    BLOB    NOT NULL,
    hold_id  TEXT    NOT NULL REFERENCES holds ON DELETE CASCADE,
    PRIMARY KEY (key_no, revision, image)
) STRICT, WITHOUT ROWID;
CREATE INDEX held_images_by_hold ON held_images (hold_id);

-- Idempotency keys: in flight while `hold_id` is set, settled afterwards, gone with a released hold.
CREATE TABLE idempotency (
    key_no          INTEGER NOT NULL REFERENCES keys,
    idempotency_key TEXT    NOT NULL,
    body_digest     TEXT    NOT NULL,
    revision        BLOB    NOT NULL,
    hold_id         TEXT    REFERENCES holds ON DELETE CASCADE,
    at_ms           INTEGER NOT NULL,
    PRIMARY KEY (key_no, idempotency_key, revision)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_by_hold ON idempotency (hold_id) WHERE hold_id IS NOT NULL;
CREATE INDEX idempotency_by_age ON idempotency (key_no, at_ms);

-- The row that readiness probes write.
CREATE TABLE probe (id INTEGER PRIMARY KEY CHECK (id = 1), at_ms INTEGER NOT NULL) STRICT;
INSERT INTO probe VALUES (1, 0);
