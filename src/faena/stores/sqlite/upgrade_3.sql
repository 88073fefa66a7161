-- From version 2 to version 3, which remembers of a request's answer whether it was a duplicate.

ALTER TABLE answers ADD COLUMN duplicate INTEGER NOT NULL DEFAULT 0;
