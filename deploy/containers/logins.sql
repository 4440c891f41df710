-- What the roles of roles.sql log in with, for a cluster in a container: psql -f roles.sql -f logins.sql
--
-- Each password is read from the file of its name in the folder $PASSWORDS, so that it is in no command line.

\set ON_ERROR_STOP on
\set console `cat "$PASSWORDS"/console`
\set scheduler `cat "$PASSWORDS"/scheduler`
\set runner `cat "$PASSWORDS"/runner`
\set keyhost `cat "$PASSWORDS"/keyhost`

ALTER ROLE botkeep_console LOGIN PASSWORD :'console';
ALTER ROLE botkeep_scheduler LOGIN PASSWORD :'scheduler';
ALTER ROLE botkeep_runner LOGIN PASSWORD :'runner';
ALTER ROLE botkeep_keyhost LOGIN PASSWORD :'keyhost';
