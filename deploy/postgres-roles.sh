#!/bin/sh
# Makes the database, and the roles that Tenantry connects as, on a new server. The image of PostgreSQL runs it once, when it has
# made its data directory. On a server of your own, docs/operations.md says the same in SQL.
#
#   tenantry_owner   owns the schema: tenantry migrate
#   tenantry_writer  of catalogues
#   tenantry_reader  of regions that read the database
#
# Each has its password from $SECRETS/NAME_password, as has the server's own superuser.
set -eu
secrets=${SECRETS:-/run/secrets}

# A password reaches psql by its standard input: arguments can be read by everybody on the machine.
quoted() {
    printf "'%s'" "$(head -n 1 "$secrets/$1_password" | sed "s/'/''/g")"
}

psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres <<SQL
SET password_encryption = 'scram-sha-256';
CREATE ROLE tenantry_owner LOGIN PASSWORD $(quoted owner);
CREATE ROLE tenantry_writer LOGIN PASSWORD $(quoted writer);
CREATE ROLE tenantry_reader LOGIN PASSWORD $(quoted reader);
CREATE DATABASE tenantry OWNER tenantry_owner;
REVOKE ALL ON DATABASE tenantry FROM PUBLIC;
GRANT CONNECT ON DATABASE tenantry TO tenantry_writer, tenantry_reader;
SQL
