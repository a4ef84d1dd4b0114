package progress

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/dtpnode/dtpnode/node/api"
)

// These bound what is printed about missing links; --output json has everything.
const (
	linkGroups  = 8 // groups of pairs
	linkReasons = 3 // reasons of a group
	linkNames   = 6 // names in a list
)

// LinkGroup is the missing links of one member, with the reasons.
type LinkGroup struct {
	Text    string   // no link between bob and carol
	Reasons []string // bob says: could not connect to …
}

// Links describes which members have no link to each other. Pairs are grouped under the member that has the most of
// them, so that one unreachable host is one group, however many links it lacks. What another member says is quoted as
// its word. rest says what was left out, if anything.
func Links(l *api.Links) (groups []LinkGroup, rest string) {
	if l == nil {
		return nil, ""
	}
	pairs, left := slices.Clone(l.Pairs), l.More
	for len(pairs) > 0 && len(groups) < linkGroups {
		center := busiest(pairs)
		var mine []api.NoLink
		pairs = slices.DeleteFunc(pairs, func(p api.NoLink) bool {
			if p.A.ID != center && p.B.ID != center {
				return false
			}
			if p.A.ID != center {
				p.A, p.B = p.B, p.A
			}
			mine = append(mine, p)
			return true
		})
		groups = append(groups, grouped(mine))
	}
	if left += len(pairs); left > 0 {
		rest = fmt.Sprintf("and %s more pairs without a link: --output json", Count(int64(left)))
	}
	if len(l.Silent) > 0 {
		var names []string
		for _, s := range l.Silent {
			names = append(names, endName(s))
		}
		rest = strings.TrimSpace(rest + "\n" + fmt.Sprintf("these did not say whom they reach: %s", some(names)))
	}
	return groups, rest
}

// busiest is the member with the most pairs; of two the one whose name comes first.
func busiest(pairs []api.NoLink) string {
	count, name := map[string]int{}, map[string]string{}
	for _, p := range pairs {
		for _, e := range []api.NoLinkEnd{p.A, p.B} {
			count[e.ID]++
			name[e.ID] = e.Name
		}
	}
	best := ""
	for id, n := range count {
		if best == "" || n > count[best] ||
			n == count[best] && cmp.Or(cmp.Compare(name[id], name[best]), cmp.Compare(id, best)) < 0 {
			best = id
		}
	}
	return best
}

// grouped describes pairs that have their first member in common.
func grouped(pairs []api.NoLink) LinkGroup {
	center := pairs[0].A
	var others []string
	r := reasons{about: map[string][]string{}}
	for _, p := range pairs {
		others = append(others, endName(p.B))
		r.add(p.A, p.A.Says)
		r.add(p.B, p.B.Says)
		if p.A.Denies {
			r.add(p.A, "there is a link to "+endName(p.B))
		}
		if p.B.Denies {
			r.add(p.B, "there is a link to "+endName(center))
		}
		for _, v := range p.Via {
			r.note(line(v)+" says that it has a link to "+unreached(p), "")
		}
	}
	g := LinkGroup{Text: "no link between " + endName(center) + " and " + some(others), Reasons: r.lines()}
	if len(others) > 1 {
		g.Text = fmt.Sprintf("no link between %s and %d others: %s", endName(center), len(others), some(others))
	}
	return g
}

// unreached is the other member of a pair with the asked node.
func unreached(p api.NoLink) string {
	if p.A.Self {
		return endName(p.B)
	}
	return endName(p.A)
}

// reasons collects the reasons that members give, and who gives each.
type reasons struct {
	order []string
	about map[string][]string // members that give the reason
}

func (r *reasons) add(e api.NoLinkEnd, says string) {
	if says == "" {
		return
	}
	who := endName(e)
	if e.Self {
		who = ""
	}
	r.note(line(says), who)
}

func (r *reasons) note(what, who string) {
	if _, known := r.about[what]; !known {
		r.order = append(r.order, what)
		r.about[what] = nil
	}
	if who != "" && !slices.Contains(r.about[what], who) {
		r.about[what] = append(r.about[what], who)
	}
}

func (r *reasons) lines() (out []string) {
	for i, what := range r.order {
		if i == linkReasons+1 && len(r.order) > linkReasons+2 {
			return append(out, fmt.Sprintf("and %d more reasons: --output json", len(r.order)-i))
		}
		switch who := r.about[what]; len(who) {
		case 0:
			out = append(out, what)
		case 1:
			out = append(out, who[0]+" says: "+what)
		default:
			out = append(out, some(who)+" say: "+what)
		}
	}
	return out
}

// some lists a few names, and counts the others.
func some(names []string) string {
	if len(names) <= linkNames {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:linkNames], ", "), len(names)-linkNames)
}

// endName is the name of a member in a sentence.
func endName(e api.NoLinkEnd) string {
	if e.Self {
		return "this node"
	}
	return line(cmp.Or(e.Name, Short(e.ID)))
}
