-- The role and the database of mana-sync. Run once as an administrator:
--   psql -v ON_ERROR_STOP=1 -v password=… -f role.sql
-- The role is an ordinary one: the node refuses to start as one that bypasses row-level security.
create role mana_sync login password :'password' nosuperuser nobypassrls nocreatedb nocreaterole;
create database mana_sync owner mana_sync encoding 'UTF8' template template0;
-- Whoever may connect could ring falsely. Programs that write by plain SQL are named one by one.
revoke connect on database mana_sync from public;
