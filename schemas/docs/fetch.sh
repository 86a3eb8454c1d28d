#!/bin/sh
# Fetches the viewer that /docs shows the OpenAPI documents with, as it is published, and keeps
# the parts that the page needs. Run it after changing the version; commit what it changes.
#
# Swagger UI, Apache-2.0: one script and one style sheet, nothing loaded from elsewhere, no eval,
# and it knows OpenAPI 3.1.
set -eu

version=5.35.0
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

(cd "$work" && npm pack --silent "swagger-ui-dist@$version" >/dev/null && tar -xzf ./*.tgz)
for file in LICENSE NOTICE swagger-ui.css swagger-ui-bundle.js swagger-ui-bundle.js.LICENSE.txt; do
	cp "$work/package/$file" "assets/$file"
	chmod 644 "assets/$file"
done
