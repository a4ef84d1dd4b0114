package node

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Members answer in JSON, and what few bytes say may take much memory: an element of a list, be it of the wrong kind,
// is two bytes, and some hundred where it is read. So answers are read by decodeAnswer or decodeList alone, which count
// first.
const (
	mostValues  = 1 << 16 // objects, and elements of all lists, in one answer: more than an honest one has room for,
	mostMissing = 1 << 18 // also where it describes one job, of which as many files may be missing,
	mostNumbers = 1 << 20 // or is mostly of numbers, or of names
	mostListed  = 1 << 12 // elements of a list of jobs
)

// decodeAnswer reads a member's answer of no more than so many values.
func decodeAnswer(b []byte, values int, into any) error {
	if countValues(b, values) > values {
		return fmt.Errorf("could not read an answer of %d bytes: it has more than %d parts", len(b), values)
	}
	return json.Unmarshal(b, into)
}

// decodeList reads a member's answer that is a list of no more than so many elements, and values in all.
func decodeList[T any](b []byte, elements, values int) (out []T, err error) {
	if countValues(b, values) > values {
		return nil, fmt.Errorf("could not read a list of %d bytes: it has more than %d parts", len(b), values)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	switch first, err := d.Token(); {
	case err != nil:
		return nil, err
	case first == nil:
		return nil, nil // null
	case first != json.Delim('['):
		return nil, fmt.Errorf("could not read a list: it begins with %v", first)
	}
	for d.More() {
		if len(out) == elements {
			return nil, fmt.Errorf("could not read a list of %d bytes: it has more than %d elements", len(b), elements)
		}
		var v T
		if err := d.Decode(&v); err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	_, err = d.Token()
	return out, err
}

// countValues counts the objects and lists in JSON and the elements of the lists, and stops beyond most. Of what is no
// JSON it counts something.
func countValues(b []byte, most int) (n int) {
	var open []byte // objects and lists
	text, escaped := false, false
	for _, c := range b {
		switch {
		case escaped:
			escaped = false
		case text:
			text, escaped = c != '"', c == '\\'
		case c == '"':
			text = true
		case c == '{' || c == '[':
			open = append(open, c)
			n++
		case c == '}' || c == ']':
			open = open[:max(len(open)-1, 0)]
		case c == ',' && len(open) > 0 && open[len(open)-1] == '[':
			n++
		}
		if n > most {
			return n
		}
	}
	return n
}
