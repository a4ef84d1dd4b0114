package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dtpnode/dtpnode/exec"

	"github.com/dtpnode/dtpnode/tasks"
)

// Members may lie about files that the submitter does not see. That a file has entries needs no second word, for
// whoever opens it compares their number with the plan. A file that is said to be empty is opened by nobody, and one
// that is said to be broken, or to lack its part, is not tried: of these the others are asked too, and what most of
// those who see the file say counts.

const (
	maxWords    = 16 // members that see a file and are asked for it
	silentAsked = 2  // members asked for a file whose server does not answer
)

// word is what one member says of a file.
type word struct {
	by   tasks.PeerID
	plan exec.Plan
	bad  *exec.Failure // why it could not plan the file; nil if it did
	real string        // the path of a local file with all links followed; empty if that is not known
}

// sees reports whether the member has looked into the file.
func (w word) sees() bool { return w.bad == nil || w.bad.Host == "" }

func (w word) hasEntries() bool { return w.bad == nil && w.plan.Entries > 0 }

func (w word) isEmpty() bool { return w.bad == nil && w.plan.Entries == 0 }

func (w word) isBroken() bool { return w.bad != nil && w.bad.Host == "" }

// text is what the member says of a file in which it sees no entries, for people.
func (w word) text() string {
	if w.bad != nil {
		return w.bad.Msg
	}
	return "it has no entries"
}

// count is of how many words something is true.
func count(words []word, is func(word) bool) (n int) {
	for _, w := range words {
		if is(w) {
			n++
		}
	}
	return n
}

// DamagedHere reports whether a file is there and cannot be read on this host, as a copy that was cut on its way here:
// elsewhere it may be whole. A file that lacks what is asked for was named wrongly, and one that kills who reads it is
// no better there.
func DamagedHere(own *exec.Failure) bool {
	return own != nil && own.Host == "" && (own.Kind == exec.KindOpen || own.Kind == exec.KindData)
}

// enough reports whether nobody else need be asked for a file, of which own is why this host could not plan it.
func enough(own *exec.Failure, words []word) bool {
	silent := func(w word) bool { return w.bad != nil && w.bad.Host == exec.CauseUnreachable }
	return own == nil || own.Host == "" && !DamagedHere(own) || slices.ContainsFunc(words, word.hasEntries) ||
		count(words, silent) >= silentAsked || count(words, word.sees) >= maxWords
}

// weighed is the word that counts: of one who sees entries, else what most say of those who see the file. Where as many
// call it broken as empty it is broken, since that is told. Where nobody sees it, a reason other than that it is
// missing says more.
func weighed(own *exec.Failure, words []word) word {
	if i := slices.IndexFunc(words, word.hasEntries); i >= 0 {
		return words[i]
	}
	if DamagedHere(own) { // this host's own eyes count as one that sees it
		words = append([]word{{bad: own}}, words...)
	}
	broken := count(words, word.isBroken)
	if empty := count(words, word.isEmpty); empty > broken {
		return words[slices.IndexFunc(words, word.isEmpty)]
	}
	unread := func(w word) bool { return w.isBroken() && unreadable(w.bad.Kind) }
	there := func(w word) bool { return w.bad != nil && w.bad.Host != exec.CauseMissing }
	for _, is := range []func(word) bool{unread, word.isBroken, there} {
		if i := slices.IndexFunc(words, is); i >= 0 {
			return words[i]
		}
	}
	return word{bad: own}
}

// disputed is the failure of a file, with what others say that see it. A part that another has found is not named
// wrongly.
func disputed(w word, words []word, names Names) *exec.Failure {
	f := *w.bad
	other := others(w, words)
	if len(other) == 0 || w.by == "" {
		return &f
	}
	if slices.ContainsFunc(other, word.isEmpty) {
		f.Kind = exec.KindOpen
	}
	f.Msg = fmt.Sprintf("%s, says %s; but %s", f.Msg, names.One(w.by), sayings(other, names))
	return &f
}

// others are those of the words whose makers see the file and say another thing.
func others(w word, words []word) (out []word) {
	for _, o := range words {
		if o.sees() && (o.isEmpty() != w.isEmpty() || o.isBroken() && o.bad.Kind != w.bad.Kind) {
			out = append(out, o)
		}
	}
	return out
}

// sayings are words of members, for people.
func sayings(words []word, names Names) string {
	texts := make([]string, len(words))
	for i, w := range words {
		texts[i] = names.One(w.by) + " says: " + w.text()
	}
	return strings.Join(texts, "; ")
}

// doubts are what a job's user is told of files that nobody will open, for they are said to be empty: which of them one
// member alone has seen, and which are broken, if others say true.
func (u *unseenHere) doubts(names Names) (notes []string) {
	alone := map[tasks.PeerID][]string{}
	for i, said := range u.words {
		if u.bad[i] != nil || u.plans[i].Entries > 0 || len(said) == 0 {
			continue
		}
		w := said[slices.IndexFunc(said, word.isEmpty)]
		switch other := others(w, said); {
		case len(other) > 0:
			notes = append(notes,
				fmt.Sprintf("%s is taken to have no entries, as most say; but %s", u.plans[i].File, sayings(other, names)))
		case count(said, word.isEmpty) == 1:
			alone[w.by] = append(alone[w.by], u.plans[i].File)
		}
	}
	for by, files := range alone {
		what := "1 file has no entries, as only %s could say: %s"
		if n := len(files); n > 1 {
			what = fmt.Sprintf("%d files have", n) + " no entries, as only %s could say; the first: %s"
		}
		notes = append(notes, fmt.Sprintf(what, names.One(by), files[0]))
	}
	slices.Sort(notes)
	return notes
}
