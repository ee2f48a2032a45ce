-- What the first start of compose.scale.yaml's PostgreSQL runs, as its superuser: a role that owns its own database and
-- nothing else. Elsewhere run the same by hand, with the password in that file.
\set password `cat /run/secrets/taskrelay_password`
CREATE ROLE taskrelay LOGIN PASSWORD :'password';
CREATE DATABASE taskrelay OWNER taskrelay ENCODING 'UTF8' TEMPLATE template0;
REVOKE ALL ON DATABASE taskrelay FROM PUBLIC;
