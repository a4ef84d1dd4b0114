package progress

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/dtpnode/dtpnode/node/api"
)

// few is how many missing ranges with the same reason are listed one by one at most.
const few = 2

// mostReasons and mostWhere bound how many reasons, and how many ranges of one reason, are listed.
const (
	mostReasons = 20
	mostWhere   = 3
)

// missing prints what is not in the result, and why, grouped by reason.
func missing(w io.Writer, st api.JobStatus) {
	if len(st.Missing) == 0 {
		return
	}
	fmt.Fprintf(w, "\nMissing from the result (%d):\n", len(st.Missing))
	groups := byReason(st.Missing)
	for _, g := range groups[:min(len(groups), mostReasons)] {
		g.print(w)
	}
	if rest := len(groups) - mostReasons; rest > 0 {
		fmt.Fprintf(w, "  and more, for %d other reasons: dtpnode status %s --output json\n", rest, Short(st.ID))
	}
	fmt.Fprintln(w)
}

// Reasons prints in short what is missing: for each reason how much, and where.
func Reasons(w io.Writer, all []api.Missing) {
	groups := byReason(all)
	for _, g := range groups[:min(len(groups), mostReasons)] {
		fmt.Fprintf(w, "  %s: %s\n", g.extent(), g.why())
		g.places(w)
	}
	if rest := len(groups) - mostReasons; rest > 0 {
		fmt.Fprintf(w, "  and more, for %d other reasons\n", rest)
	}
}

// reason is all that is missing for one reason.
type reason struct {
	kind, text string
	all        []api.Missing
}

// byReason groups what is missing by reason, in the order of first appearance. Ranges that are listed one by one are
// not grouped.
func byReason(all []api.Missing) (groups []*reason) {
	type key struct{ kind, text string }
	of := map[key]*reason{}
	for _, m := range all {
		k := key{m.Kind, m.Reason}
		if of[k] == nil {
			of[k] = &reason{kind: m.Kind, text: m.Reason}
			groups = append(groups, of[k])
		}
		of[k].all = append(of[k].all, m)
	}
	return groups
}

func (g *reason) print(w io.Writer) {
	if len(g.all) > few {
		fmt.Fprintf(w, "  %s: %s\n", g.extent(), g.why())
		g.places(w)
		g.tries(w)
		first := g.all[0]
		for _, m := range g.all {
			if !slices.Equal(m.Words, first.Words) || !slices.Equal(m.Nodes, first.Nodes) {
				first.Words = nil // the words are those of the first only
				break
			}
		}
		details(w, first)
		return
	}
	for _, m := range g.all {
		fmt.Fprintf(w, "  %s\n    %s\n", place(m), g.why())
		(&reason{all: []api.Missing{m}}).tries(w)
		details(w, m)
	}
}

// why is the reason, with its kind if that says more.
func (g *reason) why() string {
	if g.kind == "stopped" {
		return line(g.text)
	}
	return line(g.kind) + ": " + line(g.text)
}

// extent says how much is missing: how many files, and how many entries if that is known.
func (g *reason) extent() string {
	if !slices.ContainsFunc(g.all, func(m api.Missing) bool { return m.File != "" || m.Units[0] == m.Units[1] }) {
		return g.items()
	}
	files := map[string]bool{}
	var n int64
	unknown := false
	for _, m := range g.all {
		files[m.File] = true
		unknown = unknown || m.Last < 0
		n += max(m.Last-m.First, 0)
	}
	out := Count(int64(len(files))) + " files"
	if len(files) == 1 {
		out = "1 file"
	}
	switch {
	case n > 0 && unknown:
		out += ", " + Count(n) + " entries and more"
	case n == 1:
		out += ", 1 entry"
	case n > 0:
		out += ", " + Count(n) + " entries"
	}
	return out
}

// items says how many items are missing.
func (g *reason) items() string {
	var n int64
	for _, m := range g.all {
		n += m.Units[1] - m.Units[0]
	}
	return Plural(int(n), "item")
}

// places lists the first ranges.
func (g *reason) places(w io.Writer) {
	for i, m := range g.all {
		if i == mostWhere && len(g.all) > mostWhere+1 {
			fmt.Fprintf(w, "    and %s more\n", Count(int64(len(g.all)-i)))
			return
		}
		fmt.Fprintf(w, "    %s\n", place(m))
	}
}

// tries says how often and where the ranges were tried: each of them, or all together.
func (g *reason) tries(w io.Writer) {
	least, most := g.all[0].Tries, g.all[0].Tries
	first, same := slices.Sorted(slices.Values(g.all[0].Nodes)), true
	nodes := slices.Clone(first)
	for _, m := range g.all[1:] {
		least, most = min(least, m.Tries), max(most, m.Tries)
		of := slices.Sorted(slices.Values(m.Nodes))
		same = same && slices.Equal(of, first)
		nodes = append(nodes, of...)
	}
	if most == 0 {
		return
	}
	times, on := fmt.Sprint(most), strings.Join(g.all[0].Nodes, ", ")
	if least < most {
		times = fmt.Sprintf("%d to %d", least, most)
	}
	if !same {
		slices.Sort(nodes)
		on = "various of " + strings.Join(slices.Compact(nodes), ", ")
	}
	if len(g.all) > 1 {
		times += " each"
	}
	fmt.Fprintf(w, "    tries: %s, on %s\n", times, line(on))
}

// details says how the tries of a range failed, and what to do.
func details(w io.Writer, m api.Missing) {
	if m.Tries > 0 {
		words(w, m)
	}
	block(w, "stack", m.Stack)
	block(w, "last lines printed", m.Tail)
	if advice := advise(m); advice != "" {
		fmt.Fprintf(w, "    next: %s\n", advice)
	}
}

// words prints what each node reported about a file that none could read, unless all reported the same.
func words(w io.Writer, m api.Missing) {
	if len(slices.Compact(slices.Clone(m.Words))) < 2 {
		return
	}
	for i, said := range m.Words[:min(len(m.Words), len(m.Nodes))] {
		fmt.Fprintf(w, "      %s: %s\n", line(m.Nodes[i]), line(said))
	}
}

// place says where a range lies: in a file, or among the items of a job that has no files.
func place(m api.Missing) string {
	if m.File == "" {
		return items(m)
	}
	return line(m.File) + " " + entries(m)
}

// items names the items of a missing range as their user counts them: its entries are counted anew for each append.
func items(m api.Missing) string {
	first, last := m.Units[0], m.Units[1]
	switch {
	case first == last:
		return "items, " + entries(m)
	case last == first+1:
		return fmt.Sprintf("item %d", first)
	}
	return fmt.Sprintf("items [%d, %d)", first, last)
}

// entries names the entries of a missing range: the whole file, one entry, or a half-open interval.
func entries(m api.Missing) string {
	listed := ""
	if m.Listed {
		listed = "listed "
	}
	switch {
	case m.Last < 0:
		return "(whole file)"
	case m.Last == m.First+1:
		return fmt.Sprintf("%sentry %d", listed, m.First)
	}
	return fmt.Sprintf("%sentries [%d, %d)", listed, m.First, m.Last)
}

// block prints a text of several lines, the last twenty of them.
func block(w io.Writer, title, text string) {
	const most = 20
	text = strings.TrimRight(Clean(text), "\n")
	if text == "" {
		return
	}
	lines := strings.Split(text, "\n")
	fmt.Fprintf(w, "    %s:\n", title)
	for _, l := range lines[max(0, len(lines)-most):] {
		fmt.Fprintf(w, "      %s\n", l)
	}
}

// otherVersion is part of the child's reason for a file with other entries than were planned.
const otherVersion = "where it was planned"

// ofFriend finds, in the child's reason, the file of a friend that cannot be opened beside a file that can, or that is
// not the one that was planned.
var ofFriend = regexp.MustCompile(`the friend \S+ in (.+?) (?:cannot be opened here: |has (?:the UUID|\d+ entries) )`)

// advise says what to do about a kind of failure (see exec.Kind).
func advise(m api.Missing) string {
	switch m.Kind {
	case "signal", "exit", "exception":
		if m.File == "" {
			return "mend the code"
		}
		list, mend := "", "mend the selector"
		if m.Listed {
			list = ", with the same --entry-list"
		}
		if strings.Contains(m.Stack, "TTree::OptimizeBaskets") && strings.Contains(m.Stack, "TTree::Fill") {
			mend = "a tree that is in no directory (SetDirectory(0)) crashes ROOT when it is to write its baskets for the " +
				"first time: add it to fOutput in SlaveBegin or Init, or write it to the file of a TProofOutputFile"
		}
		return fmt.Sprintf("%s; these entries alone: --files '%s' --first %d -n %d%s", mend, line(m.File), m.First,
			m.Last-m.First, list)
	case "stall":
		return "if these entries may take long, allow it with --stall; else look for an endless loop"
	case "memory":
		return "allow more with --memory, or hold less in the selector"
	case "data":
		return "the file is damaged there: copy it again and check its checksum"
	case "open":
		of := ofFriend.FindStringSubmatch(m.Reason)
		if strings.Contains(m.Reason, otherVersion) && of != nil {
			return "hosts have different versions of the friend's file, " + line(of[1]) + ": make it the same on all, and run " +
				"the job again"
		}
		if strings.Contains(m.Reason, otherVersion) {
			return "hosts have different versions of the file: make it the same on all, and run the job again"
		}
		if of != nil {
			return "check that the friend's file, " + line(of[1]) + ", is whole and readable at this path on every node"
		}
		return "check that the file is whole and readable at this path on every node"
	case "schema":
		return api.BranchAdvice(m.Reason)
	case "disk":
		return "free disk space on these nodes; see `dtpnode doctor`"
	case "internal":
		return "this is a defect of dtpnode: please report it with the daemon's log"
	}
	return ""
}
