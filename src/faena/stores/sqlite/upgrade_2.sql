-- From version 1 to version 2, which knows gates, keys that outlive their jobs, pauses and schedules.

ALTER TABLE jobs ADD COLUMN key_held REAL;
ALTER TABLE jobs ADD COLUMN key_bound REAL;
ALTER TABLE jobs ADD COLUMN kept_until REAL;
ALTER TABLE jobs ADD COLUMN gates TEXT;
ALTER TABLE jobs ADD COLUMN lane INTEGER;
DROP INDEX jobs_live_key;
DROP INDEX jobs_pending;
DROP INDEX jobs_delivered;
UPDATE jobs SET key_held = 0 WHERE key IS NOT NULL AND status IN (0, 1, 2);
