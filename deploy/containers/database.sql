-- The owner of the tables and the database, for a cluster in a container: psql -f database.sql
--
-- As the superuser, at every start: what is there stays, and the owner's password becomes what the file `owner` in the folder $PASSWORDS says.

\set ON_ERROR_STOP on
\set owner `cat "$PASSWORDS"/owner`

SELECT 'CREATE ROLE botkeep_owner CREATEROLE' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'botkeep_owner') \gexec
ALTER ROLE botkeep_owner LOGIN PASSWORD :'owner';
SELECT 'CREATE DATABASE botkeep OWNER botkeep_owner ENCODING ''UTF8'' TEMPLATE template0'
    WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'botkeep') \gexec
