#!/bin/sh
# Run once by the official Postgres image, when its data folder is empty.
set -eu
psql --username "${POSTGRES_USER:-postgres}" --set ON_ERROR_STOP=1 \
    --set "password=$MANA_SYNC_PASSWORD" --file /etc/mana-sync/role.sql
