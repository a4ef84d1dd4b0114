package members

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

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
		said map[tasks.PeerID]Lacks
		want []string
	}{
		"all linked": {"bc", map[tasks.PeerID]Lacks{"b": {}, "c": {}}, nil},
		"two of others": {"bc", map[tasks.PeerID]Lacks{
			"b": {Lacks: []lack{{"c", "refused"}}},
			"c": {Lacks: []lack{{"b", "no route"}}},
		}, []string{"B refused|C no route|"}},
		"one says so, the other denies it": {"bc", map[tasks.PeerID]Lacks{"b": {Lacks: []lack{{"c", "refused"}}}, "c": {}},
			[]string{"B refused|C denies|"}},
		"one that did not answer denies nothing": {"bc", map[tasks.PeerID]Lacks{"b": {Lacks: []lack{{"c", "refused"}}}},
			[]string{"B refused|C|"}},
		"down for all": {"b", map[tasks.PeerID]Lacks{
			"a": {Lacks: []lack{{"c", "x"}}},
			"b": {Lacks: []lack{{"c", "y"}}},
		}, nil},
		"down for this node alone": {"b", map[tasks.PeerID]Lacks{
			"a": {Lacks: []lack{{"c", "x"}}},
			"b": {Has: []string{"c", "c", "z"}},
		},
			[]string{"A x|C|B"}},
		"words about strangers and oneself": {"b", map[tasks.PeerID]Lacks{"b": {
			Lacks: []lack{{"z", ""}, {"b", ""}, {"", ""}},
			Has:   []string{"z"},
		}}, nil},
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
	if len(l.Lacks) != maxLacks || l.More != 910-maxLacks || l.Lacks[0].ID != "id0900" ||
		len(l.Lacks[0].Why) > maxWhy+len("…") || strings.Contains(l.Lacks[0].Why, "\x1b") {
		t.Errorf("%d Lacks, %d more, the first %+v", len(l.Lacks), l.More, l.Lacks[0])
	}
}

// TestWhatIsSaidOfLinksIsBounded: whatever members say, liars among them, what the user is told are pairs of members
// that there are, with short reasons that are text.
func TestWhatIsSaidOfLinksIsBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.SampledFrom([]int{3, 10, 200}).Draw(t, "members")
		var ms []p2p.Member
		for i := range n {
			m := p2p.Member{ID: fmt.Sprint("id", i), Self: i == 0, Up: i > 0 && rapid.IntRange(0, 9).Draw(t, "up") > 0}
			m.Name = fmt.Sprint("name", i)
			ms = append(ms, m)
		}
		said := map[tasks.PeerID]Lacks{}
		for _, m := range ms {
			if !m.Up && !m.Self {
				continue
			}
			var l Lacks
			for range rapid.IntRange(0, 5).Draw(t, "lacks") {
				l.Lacks = append(l.Lacks,
					lack{fmt.Sprint("id", rapid.IntRange(0, n).Draw(t, "of")),
						rapid.SampledFrom([]string{"", "refused", "a\nb\x1b[2J"}).Draw(t, "why")})
			}
			said[m.ID] = l
		}
		links := unlinked(ms, said, map[tasks.PeerID]string{"id1": "too old"})
		if len(links.Pairs) > n*(n-1)/2 || len(links.Pairs) > maxPairs {
			t.Fatalf("%d pairs of %d members", len(links.Pairs), n)
		}
		for _, p := range links.Pairs {
			for _, e := range []api.NoLinkEnd{p.A, p.B} {
				if strings.ContainsAny(e.Says, "\n\x1b") || len(e.Says) > maxWhy+len("…") || e.Name == "" {
					t.Fatalf("%+v", p)
				}
			}
		}
	})
}
