#!/bin/sh
# Fetches the JSON Schema of AsyncAPI 3.0.0 documents (Apache-2.0), which the test of
# events.asyncapi.yaml holds it to.
set -eu

version=6.11.1
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

(cd "$work" && npm pack --silent "@asyncapi/specs@$version" >/dev/null && tar -xzf ./*.tgz)
cp "$work/package/schemas/3.0.0.json" "$work/package/LICENSE" "$work/package/NOTICE" .
chmod 644 3.0.0.json LICENSE NOTICE
