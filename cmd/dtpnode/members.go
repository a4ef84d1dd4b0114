package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dtpnode/dtpnode/cli/progress"
	"github.com/dtpnode/dtpnode/node/api"
)

func newMembers(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "members",
		Short: "List the cluster's members",
		Long: `members lists the hosts of the cluster by name: what they may do, whether they are up, and what is wrong with
them. A member that is not up has left, by its own word (` + "`dtpnode down`" + `), or is lost, without one, since the
time that is shown; or it is unseen: this host has never met it. It has no link where others say that it is up and
this host cannot reach it. Pairs of members without a link are listed below, with the addresses that they tried, as
they tell it, and before them whose clock is off by more than 5 seconds. ` + "`dtpnode forget`" + ` is for those that
do not come back. Versions and protocol numbers are shown where they differ. Ids are shortened to what tells them
apart, and long names cut; --output json has them whole.

Exit status: 0 listed, 1 error, 2 wrong usage.`,
		Example: "  dtpnode members\n  dtpnode members --output json",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			return runMembers(ctx, g)
		},
	}
}

func runMembers(ctx context.Context, g *globals) error {
	client, err := g.client()
	if err != nil {
		return err
	}
	members, err := client.Members(ctx)
	if err != nil {
		return err
	}
	links, err := client.Links(ctx)
	if err != nil {
		return err
	}
	shown := withLinks(members, links)
	return g.show(shown, func(w io.Writer) {
		for i, m := range shown {
			members[i] = m.Member
		}
		printMembers(w, members, time.Now())
		printLinks(w, links)
		if !slices.ContainsFunc(members, func(m api.Member) bool { return m.Self }) {
			printExpelled(ctx, w, client)
		}
	})
}

// linkedMember is a Member and the members that are up to which it has no link.
type linkedMember struct {
	api.Member
	NoLinkTo []api.NoLinkEnd `json:"no_link_to,omitempty"` // Says is what this member reports about it
}

// withLinks adds to each member the members to which it has no link, and marks those that are up but not linked to this
// node.
func withLinks(members []api.Member, links *api.Links) []linkedMember {
	out, at := make([]linkedMember, len(members)), map[string]int{}
	for i, m := range members {
		out[i].Member, at[m.ID] = m, i
	}
	if links == nil {
		return out
	}
	note := func(from, to api.NoLinkEnd) {
		i, known := at[from.ID]
		if !known {
			return
		}
		out[i].NoLinkTo = append(out[i].NoLinkTo, api.NoLinkEnd{ID: to.ID, Name: to.Name, Self: to.Self, Says: from.Says})
		if to.Self && !out[i].Up {
			out[i].State, out[i].Note = api.MemberNoLink, ""
		}
	}
	for _, p := range links.Pairs {
		note(p.A, p.B)
		note(p.B, p.A)
	}
	return out
}

// printExpelled says why this host is not among the members.
func printExpelled(ctx context.Context, w io.Writer, client *api.Client) {
	if st, err := client.Status(ctx); err == nil && st.Expelled != nil {
		fmt.Fprintf(w, "%s\n  %s\n", oneLine(st.Expelled.String()), api.ExpelledHint)
	}
}

// membersWidth is the width of the table of members if the output is not a terminal; long names and addresses are cut
// to fit.
const membersWidth = 100

// notesShown is how many lines about problems are printed below the table.
const notesShown = 12

// printMembers prints the members by name in a table that fits a terminal, and below it their problems and, where they
// differ, their versions and protocol numbers.
func printMembers(w io.Writer, members []api.Member, now time.Time) {
	members = slices.Clone(members)
	slices.SortFunc(members, func(a, b api.Member) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	short := shortIDs(members)
	rows := [][]string{{"NAME", "ID", "STATE", "RTT", "SLOTS", "RUNS", "RIGHTS", "ADDRESS"}}
	for _, m := range members {
		addr := ""
		if len(m.Addrs) > 0 {
			addr = m.Addrs[0]
		}
		slots := strconv.Itoa(m.Slots)
		rows = append(rows, []string{m.Name, short[m.ID], memberState(m, now), rttOf(m), slots, runsOf(m), rightsOf(m), addr})
	}
	progress.Grid(w, cmp.Or(progress.Width(w), membersWidth), rows, 0, 5, 6, 7)
	printNotes(w, members)
	for _, clock := range progress.Clocks(members) {
		fmt.Fprintln(w, clock)
	}
	printVersions(w, members)
}

// runsOf are the runtimes of a member.
func runsOf(m api.Member) string {
	var words []string
	for _, r := range m.Runtimes {
		word := r.Kind + " " + r.Version
		if r.Environment != "" {
			word += " (" + r.Environment + ")"
		}
		if r.Problem != "" {
			word += " (broken)"
		}
		words = append(words, word)
	}
	return strings.Join(words, ", ")
}

// memberState says whether a member is up, or else how it went and how long ago.
func memberState(m api.Member, now time.Time) string {
	switch {
	case m.State == api.MemberNone:
		return "-"
	case m.Seen != nil && (m.State == api.MemberLeft || m.State == api.MemberLost):
		return string(m.State) + " " + progress.Age(now.Sub(*m.Seen))
	}
	return string(m.State)
}

func rttOf(m api.Member) string {
	if m.Self || !m.Up {
		return "-"
	}
	return fmt.Sprintf("%.1f ms", m.RTT)
}

// printNotes prints the problems of members, grouping those with the same problem.
func printNotes(w io.Writer, members []api.Member) {
	names, order, called := map[string][]string{}, []string(nil), api.Called(members)
	for _, m := range members {
		if m.Note == "" {
			continue
		}
		if names[m.Note] == nil {
			order = append(order, m.Note)
		}
		names[m.Note] = append(names[m.Note], called[m.ID])
	}
	for i, note := range order {
		if i == notesShown {
			fmt.Fprintf(w, "and %d more of which something is wrong: dtpnode members --output json\n", len(order)-i)
			return
		}
		fmt.Fprintf(w, "%s: %s\n", oneLine(enumerated(names[note])), oneLine(note))
	}
}

// enumerated lists a few names, and counts the others.
func enumerated(names []string) string {
	const most = 6
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// build is a version of dtpnode that members run, with its protocol number.
type build struct {
	version  string
	protocol int
}

// printVersions prints which members run which version, if they differ. Members whose version is unknown are left out.
func printVersions(w io.Writer, members []api.Member) {
	names, called := map[build][]string{}, api.Called(members)
	for _, m := range members {
		if m.Version != "" {
			b := build{m.Version, m.Protocol}
			names[b] = append(names[b], called[m.ID])
		}
	}
	if len(names) < 2 {
		return
	}
	builds := slices.SortedFunc(maps.Keys(names), func(a, b build) int {
		return cmp.Or(cmp.Compare(len(names[b]), len(names[a])), cmp.Compare(a.version, b.version),
			cmp.Compare(a.protocol, b.protocol))
	})
	for i, b := range builds {
		if i == notesShown {
			fmt.Fprintf(w, "and %d more versions\n", len(builds)-i)
			break
		}
		fmt.Fprintf(w, "dtpnode %s, protocol %d: %s\n", oneLine(b.version), b.protocol,
			oneLine(enumerated(names[b])))
	}
	if slices.ContainsFunc(builds, func(b build) bool { return b.protocol != builds[0].protocol }) {
		fmt.Fprintln(w, "members work together that speak a common protocol; where two do not, it is said above")
		return
	}
	fmt.Fprintln(w, "these versions work together: all speak the same protocol")
}

// rightsOf is what a member may do, in few words.
func rightsOf(m api.Member) string {
	words := m.Rights
	if len(words) == len(api.Rights()) {
		words = []string{"all"}
	}
	if m.Founder {
		words = append([]string{"founder"}, slices.DeleteFunc(slices.Clone(words), func(r string) bool {
			return r == "all"
		})...)
	}
	if m.Ephemeral {
		words = append(slices.Clone(words), "ephemeral")
	}
	return strings.Join(words, ",")
}

// shortIDs are api.ShortIDs of members; findMember takes them.
func shortIDs(members []api.Member) map[string]string {
	ids := make([]string, len(members))
	for i, m := range members {
		ids[i] = m.ID
	}
	return api.ShortIDs(ids)
}
