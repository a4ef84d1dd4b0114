package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/invopop/jsonschema"
	"github.com/spf13/cobra"

	"github.com/dtpnode/dtpnode/bench"
	"github.com/dtpnode/dtpnode/cli/doctor"
	"github.com/dtpnode/dtpnode/node/api"
)

// printed lists the types that the commands print with --output json. If a command has several, it prints one of them.
var printed = map[string][]any{
	"attach":         {api.Event{}},
	"bench":          {bench.Report{}},
	"cancel":         {cancelled{}},
	"config-set":     {setting{}},
	"config-show":    {[]setting{}},
	"append":         {api.Appended{}},
	"close":          {api.Appended{}},
	"config-unset":   {setting{}},
	"dataset-add":    {api.Dataset{}},
	"dataset-ls":     {[]api.Dataset{}},
	"dataset-rm":     {api.Dataset{}},
	"dataset-show":   {api.Dataset{}},
	"dataset-verify": {api.DatasetCheck{}},
	"demo":           {api.JobStatus{}},
	"doctor":         {[]doctor.Finding{}},
	"down":           {stopped{}},
	"error":          {failure{}},
	"finish":         {api.Event{}},
	"forget":         {revoked{}},
	"package-add":    {packageAdded{}},
	"package-clear":  {packagesRemoved{}},
	"package-ls":     {packageList{}},
	"package-rm":     {packagesRemoved{}},
	"get":            {api.JobStatus{}, api.Manifest{}},
	"handover":       {api.Member{}},
	"invite":         {api.Invite{}},
	"join":           {api.NodeStatus{}},
	"logs":           {api.LogPart{}},
	"man":            {[]string{}},
	"members":        {[]linkedMember{}},
	"ps":             {[]api.JobStatus{}},
	"recover":        {api.Recovery{}},
	"recovery-key":   {api.RecoveryKey{}, keyFile{}},
	"rename":         {renamed{}},
	"retry":          {api.Event{}, api.JobStatus{}},
	"revoke":         {revoked{}},
	"run":            {api.Event{}, api.JobStatus{}, api.Check{}},
	"schema":         {[]string{}, map[string]any{}},
	"status":         {linkedStatus{}, api.JobStatus{}},
	"take-back":      {api.NodeStatus{}},
	"units":          {api.UnitsEvent{}},
	"up":             {api.NodeStatus{}},
	"version":        {versionInfo{}},
	"watch":          {api.WatchEvent{}},
	"draw":           {api.Event{}},
}

// textOnly lists the commands that print no JSON, but text or a script.
var textOnly = []string{"completion", "config", "dataset", "help", "package", "root"}

// words lists the possible values of types that have a fixed set of them.
var words = map[reflect.Type][]any{
	reflect.TypeFor[api.JobState]():    anyOf(api.States()),
	reflect.TypeFor[api.MemberState](): anyOf(api.MemberStates()),
	reflect.TypeFor[doctor.Level]():    anyOf([]doctor.Level{doctor.OK, doctor.Warn, doctor.Fail}),
}

func anyOf[T any](all []T) (out []any) {
	for _, v := range all {
		out = append(out, v)
	}
	return out
}

// TestSchemas: the shipped schemas match the types, every command has one, and docs/json.md lists it.
func TestSchemas(t *testing.T) {
	r := &jsonschema.Reflector{
		Anonymous: true, AllowAdditionalProperties: true, // fields are added
		Mapper: func(t reflect.Type) *jsonschema.Schema {
			if all := words[t]; all != nil {
				return &jsonschema.Schema{Type: "string", Enum: all}
			}
			return nil
		},
	}
	t.Chdir("../..")
	for _, dir := range []string{"./node/api", "./bench", "./cli/doctor", "./rootexec"} {
		if err := r.AddGoComments("github.com/dtpnode/dtpnode", dir); err != nil {
			t.Fatal(err)
		}
	}
	doc, err := os.ReadFile("docs/json.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range printed {
		sameSchema(t, filepath.Join("docs", "schema", name+".json"), schemaOf(r, name, values))
		command := withBlanks(name)
		if !regexp.MustCompile("(?m)^\\|.*`"+command+"[` ]").Match(doc) && name != "error" {
			t.Errorf("docs/json.md has no line about %s", command)
		}
	}
	for _, name := range schemaNames() {
		if printed[name] == nil && !*update {
			t.Errorf("docs/schema/%s.json is of no command", name)
		}
	}
	for _, name := range commandNames() {
		if printed[name] == nil && !slices.Contains(textOnly, name) {
			t.Errorf("there is no schema of what %s prints", name)
		}
	}
}

// commandNames returns the names of all commands, with dashes in place of blanks.
func commandNames() (names []string) {
	root := newRoot(&globals{})
	var visit func(*cobra.Command)
	visit = func(cmd *cobra.Command) {
		for _, c := range cmd.Commands() {
			names = append(names, strings.TrimPrefix(pageName(c), "dtpnode-"))
			visit(c)
		}
	}
	visit(root)
	return names
}

// withBlanks is the name of a command of a command as users write it.
func withBlanks(name string) string {
	for _, of := range []string{"config", "dataset", "package"} {
		name = strings.Replace(name, of+"-", of+" ", 1)
	}
	return name
}

// schemaOf is the schema of a value of one of some types.
func schemaOf(r *jsonschema.Reflector, name string, values []any) *jsonschema.Schema {
	title := "what dtpnode " + withBlanks(name) + " prints with --output json"
	switch {
	case name == "error":
		title = "what a command prints on standard error, with --output json, when it fails"
	case slices.Contains([]string{"run", "retry", "attach", "finish"}, name):
		title += ": each of its lines, with --detach all of it"
		if name == "attach" || name == "finish" {
			title = strings.TrimSuffix(title, ", with --detach all of it")
		}
	}
	all := &jsonschema.Schema{Version: jsonschema.Version, Title: title, Definitions: jsonschema.Definitions{}}
	for _, v := range values {
		s := r.Reflect(v)
		for name, def := range s.Definitions {
			all.Definitions[name] = def
		}
		s.Definitions, s.Version = nil, ""
		all.AnyOf = append(all.AnyOf, s)
	}
	if len(all.AnyOf) == 1 {
		one := all.AnyOf[0]
		all.Ref, all.Type, all.Items, all.AnyOf = one.Ref, one.Type, one.Items, nil
	}
	if len(all.Definitions) == 0 {
		all.Definitions = nil
	}
	return all
}

func sameSchema(t *testing.T, path string, s *jsonschema.Schema) {
	t.Helper()
	var got bytes.Buffer
	enc := json.NewEncoder(&got)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("%s is not what the types say; go test ./cmd/dtpnode -update makes it anew (-shipped +types):\n%s", path,
			diff)
	}
}

// TestSchemaCommand: schemas are printed by the names of the commands.
func TestSchemaCommand(t *testing.T) {
	for _, args := range [][]string{
		{"schema", "ps"},
		{"schema", "config", "show"},
		{"schema", "error", "--output", "json"},
	} {
		got := dtpnode(t, t.TempDir(), t.TempDir(), args...)
		if got.code != exitDone || !json.Valid([]byte(got.stdout)) || !strings.Contains(got.stdout, jsonschema.Version) {
			t.Errorf("%q: %+v", args, got)
		}
	}
	if got := dtpnode(t, t.TempDir(), t.TempDir(), "schema", "completion"); got.code != exitUsage ||
		!strings.Contains(got.stderr, "want one of append, attach, bench") {
		t.Errorf("%+v", got)
	}
	if got := dtpnode(t, t.TempDir(), t.TempDir(), "schema"); got.code != exitDone ||
		!strings.Contains(got.stdout, "\ntake-back\n") {
		t.Errorf("%+v", got)
	}
}
