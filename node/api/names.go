package api

import (
	"cmp"
	"slices"
	"strings"
	"unicode"

	"github.com/mtibben/confusables"
	"golang.org/x/text/unicode/norm"
)

// SameInAll is what the ids of all members begin with: it tells none from another.
const SameInAll = "12D3KooW"

// ToldApart are the names of members, by their ids. What a member is called is its own choice, and another's name no
// secret: where several have one, or some that look alike, each is followed by so much of the id as tells them apart,
// so that nothing is said of one that can be read of another. An empty name stays so.
func ToldApart(names map[string]string) map[string]string {
	alike := map[string][]string{}
	looks := make(map[string][]string, len(names))
	for id, name := range names {
		looks[id] = looksOf(name)
		for _, look := range looks[id] {
			alike[look] = append(alike[look], id)
		}
	}
	out := make(map[string]string, len(names))
	for id, name := range names {
		out[id] = name
		var same []string
		for _, look := range looks[id] {
			same = append(same, alike[look]...)
		}
		slices.Sort(same)
		if same = slices.Compact(same); len(same) > 1 {
			out[id] = strings.TrimSpace(name) + " (" + ShortIDs(same)[id] + ")"
		}
	}
	return out
}

// looksOf is what a reader may take a name for: names that have one look in common are alike. Letters of other scripts
// look like those of ours (Unicode's table of confusables), and case, white space and what takes no room are easily
// overlooked. There are two looks, since a capital I is that of an i, and looks like an l. There is none of an empty
// name.
func looksOf(name string) []string {
	seen := norm.NFKC.String(strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || unicode.IsPrint(r) {
			return r
		}
		return -1
	}, name))
	seen = strings.Join(strings.Fields(seen), " ")
	if seen == "" {
		return nil
	}
	small := confusables.Skeleton(strings.ToLower(seen))
	if drawn := confusables.Skeleton(strings.ToLower(confusables.Skeleton(seen))); drawn != small {
		return []string{small, drawn}
	}
	return []string{small}
}

// Called is what members are called where their ids do not stand beside their names, by their ids: their names, told
// apart, or the short ids of those that have none.
func Called(members []Member) map[string]string {
	names, ids := make(map[string]string, len(members)), make([]string, 0, len(members))
	for _, m := range members {
		names[m.ID] = m.Name
		ids = append(ids, m.ID)
	}
	called, short := ToldApart(names), ShortIDs(ids)
	for id, name := range called {
		called[id] = cmp.Or(name, short[id])
	}
	return called
}

// ShortIDs are the shortest parts of ids, behind what all share, that tell them apart; 6 characters at least.
func ShortIDs(ids []string) map[string]string {
	out := make(map[string]string, len(ids))
	longest := 0
	for _, id := range ids {
		longest = max(longest, len(id))
	}
	for n := 6; ; n++ {
		clear(out)
		var taken []string
		for _, id := range ids {
			short := strings.TrimPrefix(id, SameInAll)
			out[id] = short[:min(n, len(short))]
			taken = append(taken, out[id])
		}
		slices.Sort(taken)
		if n >= longest || len(slices.Compact(taken)) == len(ids) {
			return out
		}
	}
}
