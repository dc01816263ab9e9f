CREATE TABLE jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    schema INTEGER NOT NULL,
    request TEXT NOT NULL,
    timing_key TEXT NOT NULL DEFAULT '',
    steps INTEGER NOT NULL DEFAULT 0,
    step INTEGER,
    total INTEGER,
    step_seconds REAL,
    message TEXT NOT NULL DEFAULT '',
    notes TEXT NOT NULL DEFAULT '[]',
    error TEXT,
    result TEXT,
    has_preview INTEGER NOT NULL DEFAULT 0,
    cancel INTEGER NOT NULL DEFAULT 0,
    process TEXT,
    created REAL NOT NULL,
    started REAL,
    phase_started REAL,
    updated REAL,
    ended REAL,
    deleted REAL
);

CREATE INDEX jobs_by_state ON jobs (state, number);

CREATE INDEX jobs_by_owner ON jobs (owner, number);

CREATE TABLE processes (
    id TEXT PRIMARY KEY,
    pid INTEGER NOT NULL,
    host TEXT NOT NULL,
    role TEXT NOT NULL,
    slots INTEGER NOT NULL DEFAULT 0,
    device TEXT,
    heartbeat REAL NOT NULL
);

CREATE TABLE timings (
    key TEXT PRIMARY KEY,
    step_seconds REAL NOT NULL,
    before_seconds REAL NOT NULL,
    after_seconds REAL NOT NULL,
    samples INTEGER NOT NULL
);
