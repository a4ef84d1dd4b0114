package api

import (
	"slices"
	"strings"
)

// SameInAll is what the ids of all members begin with: it tells none from another.
const SameInAll = "12D3KooW"

// ToldApart are the names of members, by their ids. What a member is called is its own choice, and another's name no secret:
// where several have one, which look the same, each is followed by so much of the id as tells them apart, so that nothing is
// said of one that can be read of another. An empty name stays so.
func ToldApart(names map[string]string) map[string]string {
	looks := map[string][]string{}
	for id, name := range names {
		if look := strings.Join(strings.Fields(name), " "); look != "" {
			looks[look] = append(looks[look], id)
		}
	}
	out := make(map[string]string, len(names))
	for id, name := range names {
		out[id] = name
		if same := looks[strings.Join(strings.Fields(name), " ")]; len(same) > 1 {
			out[id] = name + " (" + ShortIDs(same)[id] + ")"
		}
	}
	return out
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
