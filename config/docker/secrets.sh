#!/bin/sh
# Makes the secrets that docker-compose.yml mounts, in ./secrets: once, and never over one that is
# there. To change one, see docs/deploy/compose.md.
set -eu
cd "$(dirname "$0")/../.."

# Containers run as users that this host does not have, so the files must be readable by all; the
# folder, which only its owner may enter, keeps the host's other users out.
umask 022
mkdir -p secrets/broker
chmod 700 secrets

secret() { # NAME VALUE
    [ -e "secrets/$1" ] || printf '%s\n' "$2" >"secrets/$1"
}
random() { head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n'; }

secret database_password "$(random)"
secret database_url "postgresql://porch:$(cat secrets/database_password)@postgres:5432/porch"
for user in admin worker wrapper flower doctor; do
    secret "broker/porch-$user" "$(random)"
    password=$(cat "secrets/broker/porch-$user")
    secret "${user}_broker_url" "redis://porch-$user:$password@valkey:6379/0"
done
secret flower_password "$(random)"
secret grafana_password "$(random)"
