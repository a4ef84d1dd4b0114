package datasets

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/tasks"
)

// What an owner was called is in its records by its own word, and nobody's name is a secret: so an owner is called what
// the member is called now, or what it said while it was one, told apart from all others who are called so.

// shortestID is how many characters of an id, behind what all ids begin with, say whose it is.
const shortestID = 6

// called are the names under which users are told of owners, by their ids.
func (r *Room) called() map[tasks.PeerID]string {
	names := r.Members.Names()
	last := map[tasks.PeerID]kept{}
	for _, k := range r.list() {
		if old, ok := last[k.Owner]; names[k.Owner] == "" && (!ok || k.At.After(old.At)) {
			last[k.Owner] = k
		}
	}
	for id, k := range last {
		names[id] = k.OwnerName
	}
	out := api.ToldApart(names)
	for id, name := range out {
		if name == "" {
			out[id] = id
		}
	}
	return out
}

// told is a record as a user sees it, without its files. called says what owners are called.
func (r *Room) told(k kept, called map[tasks.PeerID]string) api.Dataset {
	owner := called[k.Owner]
	return api.Dataset{
		Name: owner + "/" + k.Name, Owner: k.Owner, OwnerName: owner, Registered: k.At, Kind: k.Kind,
		Gone: k.Owner != r.Members.ID() && !r.Members.HasRight(k.Owner, p2p.Submitter), Count: k.files, Entries: k.entries,
		Bytes: k.size,
	}
}

// find is the record that a user means by a name: NAME, OWNER/NAME, or as PROOF wrote it /GROUP/OWNER/NAME. The own one
// goes before those of others. An owner is meant by what it is called, as lists show it, or by its id or the beginning
// of that.
func (r *Room) find(name string) (kept, map[tasks.PeerID]string, error) {
	parts := strings.Split(strings.Trim(name, "/"), "/")
	base, owner := parts[len(parts)-1], ""
	if len(parts) > 1 {
		owner = parts[len(parts)-2]
	}
	called, self := r.called(), r.Members.ID()
	all := r.list()
	var found []kept
	for _, k := range all {
		switch {
		case k.Removed || k.Name != base || owner != "" && called[k.Owner] != owner:
		case owner == "" && k.Owner == self:
			return k, called, nil
		default:
			found = append(found, k)
		}
	}
	if owner != "" && len(found) == 0 {
		for _, k := range all {
			if !k.Removed && k.Name == base && beginsID(k.Owner, owner) {
				found = append(found, k)
			}
		}
	}
	switch len(found) {
	case 0:
		return kept{}, nil, &api.Error{
			Status: http.StatusNotFound, Message: fmt.Sprintf("no dataset %q is known on the members that answer", name),
			Hint: unknownHint(owner, called),
		}
	case 1:
		return found[0], called, nil
	}
	var owners []string
	for _, k := range found {
		owners = append(owners, called[k.Owner]+"/"+k.Name+" ("+k.Owner+")")
	}
	return kept{}, nil, &api.Error{
		Status:  http.StatusConflict,
		Message: fmt.Sprintf("several members have a dataset %q: %s", name, strings.Join(owners, ", ")),
		Hint:    "name its owner, by the name or the id: OWNER/NAME",
	}
}

// beginsID reports whether a text is an id, or so much of its beginning as says whose it is.
func beginsID(id tasks.PeerID, text string) bool {
	text = strings.TrimPrefix(text, api.SameInAll)
	return len(text) >= shortestID && strings.HasPrefix(strings.TrimPrefix(id, api.SameInAll), text)
}

// unknownHint says where names are listed, and that an owner's name is that of several.
func unknownHint(owner string, called map[tasks.PeerID]string) string {
	for _, name := range called {
		if owner != "" && strings.HasPrefix(name, owner+" (") {
			return "several are, or were, called so: dtpnode dataset ls tells them apart; the letters in brackets, as OWNER, " +
				"or the id say which is meant"
		}
	}
	return "dtpnode dataset ls lists them"
}
