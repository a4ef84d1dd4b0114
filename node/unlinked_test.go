package node

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/dtpnode/dtpnode/cli/progress"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/tasks"
)

// view is how a sees members: those in up have a link to it.
func view(up string, all ...string) (ms []p2p.Member) {
	for _, id := range all {
		m := p2p.Member{ID: id, Self: id == "a", Up: strings.Contains(up, id)}
		m.Name = strings.ToUpper(id)
		ms = append(ms, m)
	}
	return ms
}

func TestUnlinked(t *testing.T) {
	for name, tc := range map[string]struct {
		up   string
		said map[tasks.PeerID]lacks
		want []string
	}{
		"all linked":    {"bc", map[tasks.PeerID]lacks{"b": {}, "c": {}}, nil},
		"two of others": {"bc", map[tasks.PeerID]lacks{"b": {Lacks: []lack{{"c", "refused"}}}, "c": {Lacks: []lack{{"b", "no route"}}}}, []string{"B refused|C no route|"}},
		"one says so, the other denies it": {"bc", map[tasks.PeerID]lacks{"b": {Lacks: []lack{{"c", "refused"}}}, "c": {}},
			[]string{"B refused|C denies|"}},
		"one that did not answer denies nothing": {"bc", map[tasks.PeerID]lacks{"b": {Lacks: []lack{{"c", "refused"}}}}, []string{"B refused|C|"}},
		"down for all":                           {"b", map[tasks.PeerID]lacks{"a": {Lacks: []lack{{"c", "x"}}}, "b": {Lacks: []lack{{"c", "y"}}}}, nil},
		"down for this node alone": {"b", map[tasks.PeerID]lacks{"a": {Lacks: []lack{{"c", "x"}}}, "b": {Has: []string{"c", "c", "z"}}},
			[]string{"A x|C|B"}},
		"words about strangers and oneself": {"b", map[tasks.PeerID]lacks{"b": {Lacks: []lack{{"z", ""}, {"b", ""}, {"", ""}}, Has: []string{"z"}}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, p := range unlinked(view(tc.up, "a", "b", "c"), tc.said, nil).Pairs {
				text := ""
				for _, e := range []api.NoLinkEnd{p.A, p.B} {
					text += strings.TrimSpace(e.Name+" "+e.Says) + map[bool]string{true: " denies|", false: "|"}[e.Denies]
				}
				got = append(got, text+strings.Join(p.Via, ","))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestLacksAreBounded: what is told of missing links stays small in a large cluster, and those that matter come first.
func TestLacksAreBounded(t *testing.T) {
	var ms []p2p.Member
	var after []tasks.PeerID
	for i := range p2p.MaxPeers {
		m := p2p.Member{ID: fmt.Sprintf("id%04d", i), Problem: strings.Repeat("\x1b[2Jno answer ", 100)}
		if i < 900 {
			after = append(after, m.ID) // down for who asks too
		}
		m.Self, m.Up = i == 1000, i >= 910
		ms = append(ms, m)
	}
	l := lacksOf(ms, after, maxLacks)
	if len(l.Lacks) != maxLacks || l.More != 910-maxLacks || l.Lacks[0].ID != "id0900" || len(l.Lacks[0].Why) > maxWhy+len("…") || strings.Contains(l.Lacks[0].Why, "\x1b") {
		t.Errorf("%d lacks, %d more, the first %+v", len(l.Lacks), l.More, l.Lacks[0])
	}
}

// TestLinksFitAScreen: whatever members say, liars among them, what is printed is short, in lines of their own.
func TestLinksFitAScreen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.SampledFrom([]int{3, 10, 200}).Draw(t, "members")
		var ms []p2p.Member
		for i := range n {
			m := p2p.Member{ID: fmt.Sprint("id", i), Self: i == 0, Up: i > 0 && rapid.IntRange(0, 9).Draw(t, "up") > 0}
			m.Name = fmt.Sprint("name", i)
			ms = append(ms, m)
		}
		said := map[tasks.PeerID]lacks{}
		for _, m := range ms {
			if !m.Up && !m.Self {
				continue
			}
			var l lacks
			for range rapid.IntRange(0, 5).Draw(t, "lacks") {
				l.Lacks = append(l.Lacks, lack{fmt.Sprint("id", rapid.IntRange(0, n).Draw(t, "of")), rapid.SampledFrom([]string{"", "refused", "a\nb\x1b[2J"}).Draw(t, "why")})
			}
			said[m.ID] = l
		}
		links := unlinked(ms, said, map[tasks.PeerID]string{"id1": "too old"})
		groups, rest := progress.Links(&links)
		lines := strings.Count(rest, "\n") + 1
		for _, g := range groups {
			lines += 1 + len(g.Reasons)
			if slices.ContainsFunc(append(g.Reasons, g.Text), func(s string) bool { return strings.ContainsAny(s, "\n\x1b") || len(s) > 2*maxWhy }) {
				t.Fatalf("%q", g)
			}
		}
		if lines > 60 || len(links.Pairs) > 0 && len(groups) == 0 {
			t.Fatalf("%d pairs in %d lines", len(links.Pairs), lines)
		}
	})
}

// TestOneUnreachableHostIsOneGroup: in a cluster of 1,024 a host that cannot be reached is told in three lines.
func TestOneUnreachableHostIsOneGroup(t *testing.T) {
	var ms []p2p.Member
	said := map[tasks.PeerID]lacks{}
	for i := range p2p.MaxPeers {
		m := p2p.Member{ID: fmt.Sprintf("id%04d", i), Self: i == 0, Up: true}
		m.Name = m.ID
		ms = append(ms, m)
		if i != 7 {
			said[m.ID] = lacks{Lacks: []lack{{"id0007", "could not connect to 127.0.0.1:4001: connect: connection refused"}}}
		}
	}
	said["id0000"] = lacks{}
	links := unlinked(ms, said, nil)
	groups, _ := progress.Links(&links)
	want := []progress.LinkGroup{{
		Text:    "no link between id0007 and 1022 others: id0001, id0002, id0003, id0004, id0005, id0006 and 1016 more",
		Reasons: []string{"id0001, id0002, id0003, id0004, id0005, id0006 and 1016 more say: could not connect to 127.0.0.1:4001: connect: connection refused"},
	}}
	if diff := cmp.Diff(want, groups); diff != "" {
		t.Error(diff)
	}
}
