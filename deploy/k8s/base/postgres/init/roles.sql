-- Creates the roles of the components, which have fewer rights than the owner of the tables, `issuetracker`. Run it as a
-- superuser; it is safe to repeat. The function grant_access() of the schema grants their rights on tables.
SET client_min_messages = warning;
DO $$
DECLARE
    missing text;
BEGIN
    FOR missing IN
        SELECT name FROM unnest(ARRAY['issuetracker_application', 'issuetracker_exporter', 'issuetracker_backup']) AS name
        WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name)
    LOOP
        EXECUTE format('CREATE ROLE %I LOGIN', missing);
    END LOOP;
END $$;
GRANT CONNECT ON DATABASE "IssueTracker" TO issuetracker_application, issuetracker_exporter, issuetracker_backup;
-- For the number of connections of all roles.
GRANT pg_read_all_stats TO issuetracker_application, issuetracker_exporter;
GRANT pg_read_all_data TO issuetracker_backup;
