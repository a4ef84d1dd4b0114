package inputs

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/dtpnode/dtpnode/node/api"
)

// Object divides FILE:NAME, which stands for an object in a ROOT file, or FILE alone. The file is local, and then there
// must be one of that name, or a URL. ok is false if the text names no such thing.
func Object(text string) (ref api.ObjectRef, ok bool, err error) {
	file, name, found := text, "", false
	if i := strings.LastIndexByte(text, ':'); i > 0 && !isFile(text) && !strings.HasPrefix(text[i:], "://") {
		file, name, found = text[:i], text[i+1:], true
	}
	if strings.Contains(text, "://") && !strings.HasPrefix(text, "file://") {
		if !found || !strings.HasSuffix(file, ".root") { // what follows the last colon is a port
			return api.ObjectRef{URL: text}, false, nil
		}
		return api.ObjectRef{URL: file, Object: name}, true, nil
	}
	file = strings.TrimPrefix(file, "file://")
	if !isFile(file) {
		return ref, false, nil
	}
	abs, err := filepath.Abs(file)
	if err != nil {
		return ref, false, fmt.Errorf("could not make %q absolute: %w", file, err)
	}
	return api.ObjectRef{URL: abs, Object: name}, found, nil
}

// EntryLists reads the values of --entry-list: FILE:NAME, or FILE where it holds one list alone.
func EntryLists(texts []string) (refs []api.ObjectRef, err error) {
	for _, text := range texts {
		ref, _, err := Object(text)
		if err != nil {
			return nil, err
		}
		if ref.URL == "" {
			return nil, &api.Error{
				Message: fmt.Sprintf("could not find the list of entries %q: no such file", text),
				Hint:    "it is named as FILE:NAME, with a TEntryList or TEventList NAME in the ROOT file FILE on this host",
			}
		}
		refs = append(refs, ref)
	}
	return refs, nil
}

// Friends reads the values of --friend:
//
//	TREE=FILES              a tree in a file, a glob, a URL or a @list, as of --files
//	ALIAS:TREE=FILES        the same, under another name
//	TREE[MAJOR]=FILES       entries that have the same value of an expression as those of the job
//	TREE[MAJOR,MINOR]=FILES the same of two expressions
//
// Values with the same name before the sign are one friend, whose files follow each other.
func Friends(texts []string) (friends []api.FriendRef, err error) {
	at := map[string]int{}
	for _, text := range texts {
		name, files, ok := strings.Cut(text, "=")
		if strings.Contains(name, "[") { // before the sign, not in a glob of files; an expression may hold the sign, too
			end := indexEnd(text)
			if ok = strings.HasPrefix(text[end:], "="); ok {
				name, files = text[:end], text[end+1:]
			}
		}
		ref, good := friendNamed(name)
		if !ok || !good || files == "" {
			return nil, fmt.Errorf("could not read --friend %q: want TREE=FILES or ALIAS:TREE=FILES, or with an index "+
				"TREE[MAJOR,MINOR]=FILES", text)
		}
		found, _, err := Files([]string{files}, ref.Part, true)
		if err != nil {
			return nil, fmt.Errorf("could not read --friend %q: %w", text, err)
		}
		i, known := at[name]
		if !known {
			i = len(friends)
			at[name], friends = i, append(friends, ref)
		}
		friends[i].Files = append(friends[i].Files, found...)
	}
	return friends, nil
}

// indexEnd is where the first bracket of a text is closed again, behind those within it; its length if nowhere.
func indexEnd(text string) int {
	depth := 0
	for i := range len(text) {
		switch text[i] {
		case '[':
			depth++
		case ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return len(text)
}

// friendNamed reads what stands before the files of a friend.
func friendNamed(name string) (ref api.FriendRef, ok bool) {
	if head, key, indexed := strings.Cut(name, "["); indexed {
		key, closed := strings.CutSuffix(key, "]")
		for _, k := range strings.Split(key, ",") {
			ref.Key = append(ref.Key, strings.TrimSpace(k))
			closed = closed && strings.TrimSpace(k) != ""
		}
		if !closed || len(ref.Key) > 2 {
			return ref, false
		}
		name = head
	}
	if alias, tree, both := strings.Cut(name, ":"); both {
		ref.Alias, name = alias, tree
		if alias == "" {
			return ref, false
		}
	}
	ref.Part = strings.Trim(name, "/")
	return ref, ref.Part != ""
}

// Aliases reads the values of --alias, NAME=EXPRESSION.
func Aliases(texts []string) (aliases []api.Alias, err error) {
	for _, text := range texts {
		name, value, ok := strings.Cut(text, "=")
		if !ok || strings.TrimSpace(name) == "" || strings.TrimSpace(value) == "" {
			return nil, fmt.Errorf("could not read --alias %q: want NAME=EXPRESSION", text)
		}
		aliases = append(aliases, api.Alias{Name: strings.TrimSpace(name), Value: value})
	}
	return aliases, nil
}
