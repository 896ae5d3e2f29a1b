\set owner `cat /run/secrets/POSTGRES_PASSWORD`
\set application `cat /run/secrets/POSTGRES_APPLICATION_PASSWORD`
\set exporter `cat /run/secrets/POSTGRES_EXPORTER_PASSWORD`
\set superuser `cat /run/secrets/POSTGRES_SUPERUSER_PASSWORD`
ALTER ROLE issuetracker PASSWORD :'owner';
ALTER ROLE issuetracker_application PASSWORD :'application';
ALTER ROLE issuetracker_exporter PASSWORD :'exporter';
ALTER ROLE postgres PASSWORD :'superuser';
