-- Events that are to be told to the operator's webhook, oldest first; a row goes once it was taken or given up.
CREATE TABLE notifications (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  event      TEXT NOT NULL,
  -- The body as it is sent, signed anew each time.
  body       TEXT NOT NULL,
  created_at INTEGER NOT NULL
) STRICT;
