package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/cpuguy83/go-md2man/v2/md2man"
	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"github.com/spf13/pflag"

	"github.com/dtpnode/dtpnode/cli/settings"
	"github.com/dtpnode/dtpnode/internal/version"
)

func newMan(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "man DIR",
		Short: "Write the manual pages of all commands to a folder",
		Long: `man writes a manual page for each command to a folder, which is made if it is not there: dtpnode.1,
dtpnode-run.1 and so on. They say what the commands' help says, and which files and variables matter.
` + "`make install`" + ` puts them where man(1) finds them.

Exit status: 0 written, 1 error, 2 wrong usage.`,
		Example: "  dtpnode man man1 && man -l man1/dtpnode-run.1",
		Args:    exactly("DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return fmt.Errorf("could not make the folder for the manual pages: %w", err)
			}
			files, err := writePages(cmd.Root(), args[0])
			if err != nil {
				return err
			}
			return g.show(files, func(w io.Writer) { fmt.Fprintf(w, "wrote %d pages to %s\n", len(files), args[0]) })
		},
	}
}

// writePages writes the pages of a command and of those below it, and returns their paths.
func writePages(cmd *cobra.Command, dir string) (files []string, err error) {
	text, err := page(cmd)
	if err != nil {
		return nil, fmt.Errorf("could not make the manual page of %s: %w", cmd.CommandPath(), err)
	}
	path := filepath.Join(dir, pageName(cmd)+".1")
	if err := os.WriteFile(path, text, 0o644); err != nil {
		return nil, fmt.Errorf("could not write a manual page: %w", err)
	}
	files = append(files, path)
	for _, c := range cmd.Commands() {
		if !c.IsAvailableCommand() {
			continue
		}
		below, err := writePages(c, dir)
		if err != nil {
			return nil, err
		}
		files = append(files, below...)
	}
	return files, nil
}

func pageName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

// page makes one manual page. cobra generates most of it, but has no sections for exit statuses, variables and files,
// which man-pages(7) wants between the options and the example.
func page(of *cobra.Command) ([]byte, error) {
	cmd := *of // a copy, since its text is changed for the page
	cmd.DisableAutoGenTag = true
	long, exits := splitExits(cmd.Long)
	cmd.Long = markdown(long)
	unhost(cmd.Flags())
	var buf bytes.Buffer
	header := &doc.GenManHeader{Source: "dtpnode " + version.String(), Manual: "dtpnode manual"}
	if err := doc.GenMan(&cmd, header, &buf); err != nil {
		return nil, err
	}
	text := buf.Bytes()
	at := len(text)
	for _, next := range []string{"\n.SH SEE ALSO", "\n.SH EXAMPLE"} {
		if i := bytes.Index(text, []byte(next)); i >= 0 {
			at = i + 1
		}
	}
	more := md2man.Render([]byte("% title\n" + exitSection(exits) + environmentSection(&cmd) + filesSection(&cmd)))
	more = more[max(0, bytes.Index(more, []byte(".SH"))):] // without that title
	return bytes.Join([][]byte{text[:at], more, text[at:]}, nil), nil
}

// unhost removes defaults that depend on the host on which the pages are made.
func unhost(flags *pflag.FlagSet) {
	if f := flags.Lookup("slots"); f != nil && f.DefValue != "0" {
		f.DefValue, f.Usage = "0", "children to run at once (default: one for each core)"
	}
}

// indented reports whether a line of a help text is to be printed as it is.
func indented(line string) bool {
	return strings.HasPrefix(line, "  ") || strings.HasPrefix(line, "\t")
}

// markdown converts a help text to Markdown: indented lines stay as they are, and characters that are special in
// Markdown are escaped, except in `commands`.
func markdown(help string) string {
	var out strings.Builder
	verbatim := false
	for line := range strings.Lines(help) {
		blank := strings.TrimSpace(line) == ""
		switch code := indented(line) && !blank; {
		case code:
			if !verbatim {
				out.WriteString("\n")
			}
			verbatim = true
			out.WriteString("    " + line)
			continue
		case verbatim && !blank:
			out.WriteString("\n")
		}
		verbatim = verbatim && blank
		out.WriteString(escaped(line))
	}
	return out.String()
}

var special = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `_`, `\_`, `<`, `\<`, `[`, `\[`, `#`, `\#`)

func escaped(line string) string {
	parts := strings.Split(line, "`")
	for i := 0; i < len(parts); i += 2 {
		parts[i] = special.Replace(parts[i])
	}
	return strings.Join(parts, "`")
}

// exitStatus matches the beginning of one status in a help text's last paragraph.
var exitStatus = regexp.MustCompile(`(?:^|[,;] )(\d+) `)

// splitExits separates the exit statuses, which are the last paragraph of a help text, as pairs of a number and its
// meaning.
func splitExits(long string) (text string, exits [][2]string) {
	text, last, ok := strings.Cut(long, "\n\nExit status: ")
	if !ok {
		return long, nil
	}
	last = strings.TrimSuffix(strings.Join(strings.Fields(last), " "), ".")
	found := exitStatus.FindAllStringSubmatchIndex(last, -1)
	for i, at := range found {
		end := len(last)
		if i+1 < len(found) {
			end = found[i+1][0]
		}
		exits = append(exits, [2]string{last[at[2]:at[3]], last[at[1]:end]})
	}
	return text, exits
}

// definitions makes a section with a list of words and their meanings.
func definitions(title string, list [][2]string) string {
	if len(list) == 0 {
		return ""
	}
	var out strings.Builder
	fmt.Fprintf(&out, "# %s\n", title)
	for _, d := range list {
		fmt.Fprintf(&out, "**%s**\n: %s\n\n", escaped(d[0]), escaped(d[1]))
	}
	return out.String()
}

func exitSection(exits [][2]string) string { return definitions("EXIT STATUS", exits) }

// startsDaemon reports whether a command takes the settings of a daemon. The page of all commands describes them too.
func startsDaemon(cmd *cobra.Command) bool {
	return !cmd.HasParent() || cmd.Name() == "up" || cmd.Name() == "join" ||
		strings.HasPrefix(cmd.CommandPath(), "dtpnode config")
}

func environmentSection(cmd *cobra.Command) string {
	list := [][2]string{
		{"DTPNODE_STATE", "The state folder, where --state does not name it. Its default is dtpnode in $XDG_STATE_HOME, or " +
			"in ~/.local/state."},
		{"DTPNODE_CACHE", "The cache folder, where --cache does not name it. Its default is dtpnode in $XDG_CACHE_HOME, or " +
			"in ~/.cache."},
	}
	if cmd.Flags().Lookup("root") != nil {
		list = append(list, [2]string{"ROOTSYS", "The folder of the ROOT to use, where --root does not name it."})
	}
	if cmd.Flags().Lookup("python") != nil {
		list = append(list, [2]string{"VIRTUAL_ENV", "An environment whose Python runs jobs in Python, where --python does " +
			"not name one and none is beside this program."})
	}
	if startsDaemon(cmd) {
		list = append(list, [2]string{"NO_COLOR", "If it is not empty, the log has no colours."})
	}
	switch {
	case cmd.Name() == "up":
		_, flags := daemonSettings()
		flags.VisitAll(func(f *pflag.Flag) {
			list = append(list, [2]string{settings.Variable(f.Name), "As --" + f.Name + "."})
		})
	case startsDaemon(cmd):
		list = append(list, [2]string{"DTPNODE_LISTEN, DTPNODE_SLOTS and so on", "Settings of the daemon, named as the " +
			"flags of dtpnode-up(1) are."})
	}
	return definitions("ENVIRONMENT", list)
}

func filesSection(cmd *cobra.Command) string {
	var list [][2]string
	if startsDaemon(cmd) {
		list = [][2]string{
			{"/etc/dtpnode.toml", "Settings of all daemons of this host; see dtpnode-config(1)."},
			{"~/.config/dtpnode/config.toml", "Settings of the user's daemons."},
			{"~/.local/state/dtpnode/config.toml", "What `dtpnode up` was given, for its next start."},
		}
	}
	return definitions("FILES", append(list,
		[2]string{"~/.local/state/dtpnode/",
			"The state folder: identity, membership, jobs, results. Only its owner may open it."},
		[2]string{"~/.local/state/dtpnode/dtpnode.log", "What a daemon in the background logs."},
		[2]string{"~/.cache/dtpnode/", "What can be made again: ROOT, compiled selectors, the demo's data."}))
}
