-- Sets the passwords of the components' roles to those of the Secret `database-roles`.
\getenv application application_password
\getenv exporter exporter_password
\getenv backup backup_password
ALTER ROLE issuetracker_application PASSWORD :'application';
ALTER ROLE issuetracker_exporter PASSWORD :'exporter';
ALTER ROLE issuetracker_backup PASSWORD :'backup';
