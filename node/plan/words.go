package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dtpnode/dtpnode/exec"

	"github.com/dtpnode/dtpnode/tasks"
)

// Members may lie about files that the submitting host does not see. One member is believed that says that a file has
// entries, because each node that opens the file compares their number with the plan. But no node will open a file that
// is said to be empty, to be broken, or to lack its part. So all other members are asked about such a file, and the
// majority of those that see it decides.

const (
	maxWords    = 16 // members that see a file and are asked for it
	silentAsked = 2  // members asked for a file whose server does not answer
)

// word is what one member says of one file.
type word struct {
	by   tasks.PeerID
	plan exec.Plan
	bad  *exec.Failure // why it could not plan the file; nil if it did
	real string        // the path of a local file with all links followed; empty if that is not known
}

// sees reports whether the member sees the file, and not only fails to reach it.
func (w word) sees() bool { return w.bad == nil || w.bad.Host == "" }

func (w word) hasEntries() bool { return w.bad == nil && w.plan.Entries > 0 }

func (w word) isEmpty() bool { return w.bad == nil && w.plan.Entries == 0 }

func (w word) isBroken() bool { return w.bad != nil && w.bad.Host == "" }

// text is, for users, what the member says of a file in which it sees no entries.
func (w word) text() string {
	if w.bad != nil {
		return w.bad.Msg
	}
	return "it has no entries"
}

// count is how many words have a property.
func count(words []word, is func(word) bool) (n int) {
	for _, w := range words {
		if is(w) {
			n++
		}
	}
	return n
}

// DamagedHere reports whether the failure own means that a file exists on this host and cannot be read, such as a copy
// that was cut on its way here. Such a file may be whole elsewhere. That is not so of a file that lacks what is asked
// for, or that crashes the process which reads it.
func DamagedHere(own *exec.Failure) bool {
	return own != nil && own.Host == "" && (own.Kind == exec.KindOpen || own.Kind == exec.KindData)
}

// enough reports whether no other member has to be asked about a file. own is why this host could not plan it.
func enough(own *exec.Failure, words []word) bool {
	silent := func(w word) bool { return w.bad != nil && w.bad.Host == exec.CauseUnreachable }
	return own == nil || own.Host == "" && !DamagedHere(own) || slices.ContainsFunc(words, word.hasEntries) ||
		count(words, silent) >= silentAsked || count(words, word.sees) >= maxWords
}

// weighed is the word that decides about a file. The word of any member that sees entries does; otherwise the majority
// of those that see the file decides whether it is empty or broken. If both have as many words the file counts as
// broken, because then the user is told. If nobody sees the file, a word that gives another reason than that the file
// is missing is preferred, since it says more.
func weighed(own *exec.Failure, words []word) word {
	if i := slices.IndexFunc(words, word.hasEntries); i >= 0 {
		return words[i]
	}
	if DamagedHere(own) { // this host sees the file too, and has a word
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

// disputed is the failure of a file according to the word w, with the words of other members that contradict it. If
// another member has found the part in question, the failure is not that it was named wrongly.
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

// others are the words that contradict w and come from members that see the file.
func others(w word, words []word) (out []word) {
	for _, o := range words {
		if o.sees() && (o.isEmpty() != w.isEmpty() || o.isBroken() && o.bad.Kind != w.bad.Kind) {
			out = append(out, o)
		}
	}
	return out
}

// sayings is a text for users with several words, and who says them.
func sayings(words []word, names Names) string {
	texts := make([]string, len(words))
	for i, w := range words {
		texts[i] = names.One(w.by) + " says: " + w.text()
	}
	return strings.Join(texts, "; ")
}

// doubts are notes for a job's user about files that count as empty, and so will be opened by nobody: those that only
// one member has seen, and those that are broken according to other members.
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
