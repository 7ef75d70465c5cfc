package store

import (
	"log"
	"os"
	"path/filepath"
)

// marks are files that say whose questions are being answered, one for each. What a program that was killed has left
// says during whose question that was: one may need more memory than the server has.
type marks struct{ directory string }

// openMarks returns the tenants of marks that were left, and removes these.
func openMarks(directory string) (marks, []string, error) {
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return marks{}, nil, err
	}
	found := marks{directory}
	return found, found.clear(), nil
}

// set marks a question of a tenant until the function that it returns is called.
func (m marks) set(tenant string) func() {
	file, err := os.CreateTemp(m.directory, tenant+".*")
	if err != nil {
		// A full volume keeps nobody from reading.
		log.Printf("a question of %s is not marked: %v", tenant, err)
		return func() {}
	}
	_ = file.Close()
	return func() { _ = os.Remove(file.Name()) }
}

// clear removes all marks, as before an end that is nobody's fault, and returns whose they were.
func (m marks) clear() []string {
	files, _ := filepath.Glob(filepath.Join(m.directory, "*"))
	var tenants []string
	for _, file := range files {
		name := filepath.Base(file)
		tenants = append(tenants, name[:len(name)-len(filepath.Ext(name))])
		_ = os.Remove(file)
	}
	return tenants
}
