// Package docs has those parts of the documentation that the binary prints.
package docs

import "embed"

// Schemas are the JSON schemas of what the commands print with --output json: schema/COMMAND.json, and
// schema/error.json for what they print on standard error. The tests of the command make them from its types: go test
// ./cmd/dtpnode -update.
//
//go:embed schema/*.json
var Schemas embed.FS
