#!/bin/sh
set -eu
PASSWORD=$(cat /run/secrets/password)
export PGPASSWORD="$DB_PASSWORD" TOKEN=`cat /run/token`
MYSQL_PWD=${MYSQL_PASSWORD:-} mysql -h db
read -r ANSWER_TOKEN < /run/token
[ -n "${TOKEN}" ] || { echo "usage: TOKEN=<token> run.sh, or --password-file=FILE"; exit 2; }
curl -fsS -H "Authorization: Bearer $TOKEN" "https://api.example/v1?token=$TOKEN"
