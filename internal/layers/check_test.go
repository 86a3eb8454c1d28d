package layers

import (
	"fmt"
	"slices"
	"strings"
)

// rowOf is the row of a package: its own, or the narrowest "/..." that it falls under.
func rowOf(table []row, pkg string) (row, bool) {
	var found row
	for _, r := range table {
		if r.path == pkg {
			return r, true
		}
		if below, ok := strings.CutSuffix(r.path, "/..."); ok && within(pkg, below) && len(r.path) > len(found.path) {
			found = r
		}
	}
	return found, found.path != ""
}

// within reports whether an import path is another one or below it.
func within(path, above string) bool {
	return path == above || strings.HasPrefix(path, above+"/")
}

func withinAny(path string, above []string) bool {
	return slices.ContainsFunc(above, func(a string) bool { return within(path, a) })
}

// checkTable reports rows that look up, stand twice or give no reason.
func checkTable(table []row) []string {
	var faults []string
	below := map[string]bool{anything: true}
	for _, r := range table {
		if below[r.path] {
			faults = append(faults, fmt.Sprintf("%s has two rows: join them", r.path))
		}
		if r.why == "" {
			faults = append(faults, fmt.Sprintf("the row of %s has no reason: say what would be lost with another import", r.path))
		}
		for _, m := range r.may {
			if !below[m] {
				faults = append(faults, fmt.Sprintf("the row of %s names %s, which is not a row below it: imports go down only", r.path, m))
			}
		}
		below[r.path] = true
	}
	return faults
}

// checkTree reports each import that the table and the homes of libraries do not allow, in a
// sentence that says what to do.
func checkTree(module string, t tree, table []row, homes []home) []string {
	var faults []string
	for pkg, imports := range t {
		r, ok := rowOf(table, pkg)
		if !ok {
			faults = append(faults, fmt.Sprintf("package %s has no row in the import table: add one to internal/layers/table_test.go, "+
				"as low as what it imports allows, saying which packages it may import and why", pkg))
			continue
		}
		for imported, file := range imports {
			if within(imported, module) {
				faults = append(faults, checkInternal(r, pkg, strings.TrimPrefix(strings.TrimPrefix(imported, module), "/"), file, table)...)
			} else if !r.forTests {
				faults = append(faults, checkLibrary(r, pkg, imported, file, homes)...)
			}
		}
	}
	slices.Sort(faults)
	return faults
}

func checkInternal(r row, pkg, imported, file string, table []row) []string {
	target, ok := rowOf(table, imported)
	switch {
	case !ok:
		return nil // reported once, as the package that has no row
	case target.forTests && !r.forTests:
		return []string{fmt.Sprintf("%s imports %s (in %s), which exists for tests: move what it needs out of there, or the import into a _test.go file", pkg, imported, file)}
	case slices.Contains(r.may, anything), slices.Contains(r.may, target.path), target.path == r.path:
		return nil
	}
	return []string{fmt.Sprintf("%s imports %s (in %s), which its row does not name (%s): "+
		"declare the interface that it needs and have it passed in from above, or change the row and its reason in internal/layers/table_test.go",
		pkg, imported, file, r.why)}
}

func checkLibrary(r row, pkg, imported, file string, homes []home) []string {
	if withinAny(imported, testLibraries) {
		return []string{fmt.Sprintf("%s imports %s (in %s), which is for tests: move the import into a _test.go file", pkg, imported, file)}
	}
	for _, h := range homes {
		if within(imported, h.library) && !slices.Contains(h.in, r.path) {
			return []string{fmt.Sprintf("%s imports %s (in %s), which is at home in %s: %s", pkg, imported, file, strings.Join(h.in, " and "), h.why)}
		}
	}
	return nil
}

// checkClosures reports what a package links, however far down, that it must not.
func checkClosures(module string, g graph, table []row, closures []closure) []string {
	var faults []string
	for _, c := range closures {
		way := g.chain(module+"/"+c.path, func(p pkg) bool {
			return !p.Standard && !withinAny(p.ImportPath, c.may) && !within(p.ImportPath, module+"/"+c.path)
		})
		if way != nil {
			faults = append(faults, fmt.Sprintf("%s links %s: do without it, or add it to closures in internal/layers/table_test.go: %s", c.path, strings.Join(way, " -> "), c.why))
		}
	}
	for path := range g {
		rel, ok := strings.CutPrefix(path, module+"/")
		if r, known := rowOf(table, rel); !ok || !known || r.forTests {
			continue
		}
		if way := g.chain(path, func(p pkg) bool { return withinAny(p.ImportPath, testLibraries) }); way != nil {
			faults = append(faults, fmt.Sprintf("%s links a library for tests: %s", rel, strings.Join(way, " -> ")))
		}
	}
	slices.Sort(faults)
	return faults
}
