#!/bin/sh
set -e
cd /app && PGPASSWORD=abc psql -h db
