package main

import (
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dtpnode/dtpnode/docs"
)

func newSchema(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "schema [COMMAND]",
		Short: "Print the JSON schema of what a command prints",
		Long: `schema prints the JSON schema (draft 2020-12) of what a command prints with --output json, or, for "error",
of what all of them print on standard error when they fail. Where a command prints many lines the schema is that of
each. Without a command it lists those that there are. Fields are added with new versions, never renamed or removed.

Exit status: 0 printed, 2 wrong usage.`,
		Example:           "  dtpnode schema ps\n  dtpnode schema config show\n  dtpnode schema error",
		ValidArgsFunction: cobra.FixedCompletions(schemaNames(), cobra.ShellCompDirectiveNoFileComp),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return g.show(schemaNames(), func(w io.Writer) { fmt.Fprintln(w, strings.Join(schemaNames(), "\n")) })
			}
			text, err := docs.Schemas.ReadFile("schema/" + strings.Join(args, "-") + ".json")
			if err != nil {
				return usagef("there is no schema of %q: want one of %s", strings.Join(args, " "),
					strings.Join(schemaNames(), ", "))
			}
			_, err = g.stdout.Write(text)
			return err
		},
	}
}

// schemaNames returns the commands that have a schema, with dashes in place of blanks, and "error".
func schemaNames() (names []string) {
	entries, err := docs.Schemas.ReadDir("schema")
	if err != nil {
		return nil // cannot happen: the folder is compiled into the binary
	}
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), path.Ext(e.Name())))
	}
	return names
}
