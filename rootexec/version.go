package rootexec

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// oldest is the first version of ROOT that the child's source compiles against; child/compat.h says so too.
var oldest = [2]int{6, 26}

// canonicalVersion writes a version of ROOT as ROOT 6.32 and later do. Older ones part the patch by a slash, 6.26/10,
// which would be a folder in names that are made of it.
func canonicalVersion(v string) string { return strings.ReplaceAll(v, "/", ".") }

// tooOld says why a version cannot be used, empty if it can. What is not understood is left to the compiler.
func tooOld(version string) string {
	parts := strings.Split(version, ".")
	if len(parts) < 2 {
		return ""
	}
	major, err := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	if err != nil || err2 != nil || cmp.Or(cmp.Compare(major, oldest[0]), cmp.Compare(minor, oldest[1])) >= 0 {
		return ""
	}
	return fmt.Sprintf("it is ROOT %s, and dtpnode needs %d.%d or newer", version, oldest[0], oldest[1])
}

// childStandard is the C++ standard that the child is compiled with: the one that ROOT was built with, but C++17 at
// least, because the child is written in it. ROOT before 6.30 was often built with C++14 or C++11; its headers adapt
// themselves, and of what differs then, string_view in arguments, the child uses nothing.
func childStandard(std string) string {
	switch strings.TrimPrefix(strings.TrimPrefix(std, "gnu++"), "c++") {
	case "", "98", "03", "0x", "11", "1y", "14", "1z":
		return "c++17"
	}
	return std
}
