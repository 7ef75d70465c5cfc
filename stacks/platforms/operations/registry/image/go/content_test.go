package main

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// copied is the content of a door's registry.
func copied(t *testing.T, door *door) []byte {
	t.Helper()
	answer := (client{t, door.administration(), "admin", "admins"}).ask("GET", "/content", nil)
	if answer.Code != 200 {
		t.Fatalf("copying the content is answered by %d %s", answer.Code, answer.Body)
	}
	return answer.Body.Bytes()
}

func TestContentComesBackInAnotherRegistry(t *testing.T) {
	door, _ := opened(t)
	parks, admin := client{t, door, "parks.web.images", secret}, client{t, door, "admin", "admins"}
	layer := bytes.Repeat([]byte("l"), 50_000)
	_, first := parks.image("parks/web", "1", layer)
	_, city := admin.image("city/debian", "12", layer)
	kept := copied(t, door)
	if again := copied(t, door); !bytes.Equal(again, kept) {
		t.Error("the same content is other bytes, which no backup would find again")
	}

	other, _ := opened(t)
	office := client{t, other.administration(), "admin", "admins"}
	roads, there := client{t, other, "roads.bus.images", secret}, client{t, other, "parks.web.images", secret}
	operator := client{t, other, "admin", "admins"}
	_, newer := operator.image("city/debian", "13", []byte("newer"))
	_, moved := operator.image("city/debian", "12", []byte("of today"))
	if code := office.ask("GET", "/content/occupied", nil).Code; code != 204 {
		t.Errorf("a registry with the city's own images is occupied: %d", code)
	}
	_, lost := roads.image("roads/bus", "1", []byte("since"))
	if code := office.ask("GET", "/content/occupied", nil).Code; code != 409 {
		t.Errorf("a registry with a tenant's image is not occupied: %d", code)
	}
	for name, stream := range map[string][]byte{
		"cut":      kept[:len(kept)-2000],
		"not told": kept,
		"altered":  append(bytes.Replace(kept, []byte("lllll"), []byte("llall"), 1), whole...),
		"foreign":  []byte("no archive" + whole),
	} {
		if code := office.ask("POST", "/content", bytes.NewReader(stream)).Code; code != 400 {
			t.Errorf("a stream that is %s is answered by %d", name, code)
		}
		if code := roads.ask("GET", "/v2/roads/bus/manifests/"+lost, nil).Code; code != 200 {
			t.Errorf("after a stream that is %s an image is answered by %d", name, code)
		}
	}
	if answer := office.ask("POST", "/content", io.MultiReader(bytes.NewReader(kept), strings.NewReader(whole))); answer.Code != 204 {
		t.Fatalf("restoring is answered by %d %s", answer.Code, answer.Body)
	}
	for _, item := range []struct {
		who    client
		target string
		code   int
	}{
		{there, "/v2/parks/web/manifests/1", 200},
		{there, "/v2/parks/web/manifests/" + first, 200},
		{there, "/v2/parks/web/blobs/" + digestOfBytes(layer), 200},
		{roads, "/v2/roads/bus/manifests/" + lost, 404},
		{operator, "/v2/city/debian/manifests/" + city, 200},
		{operator, "/v2/city/debian/manifests/" + newer, 200},
	} {
		if code := item.who.ask("GET", item.target, nil).Code; code != item.code {
			t.Errorf("%s is answered by %d", item.target, code)
		}
	}
	// What the city has pushed since stands.
	if answer := operator.ask("GET", "/v2/city/debian/manifests/12", nil); digestOfBytes(answer.Body.Bytes()) != moved {
		t.Errorf("the tag is of the backup's time: %d", answer.Code)
	}
	if left, _ := os.ReadDir(other.kept.staging()); len(left) > 0 {
		t.Errorf("what was replaced is left: %v", left)
	}
	// Garbage is of no layer that is named.
	if answer := office.ask("POST", "/collect", nil); answer.Code != 200 {
		t.Fatalf("collecting is answered by %d %s", answer.Code, answer.Body)
	}
	if code := there.ask("GET", "/v2/parks/web/blobs/"+digestOfBytes(layer), nil).Code; code != 200 {
		t.Errorf("the layer was collected: %d", code)
	}
}

func TestWhatIsNamedIsThereWhilePushesGoOn(t *testing.T) {
	door, _ := opened(t)
	parks := client{t, door, "parks.web.images", secret}
	_, first := parks.image("parks/web", "1", []byte("first"))
	// A push that ends while the content is written: all that the stream names is in it.
	second := ""
	stream := &pushed{then: func() { _, second = parks.image("parks/web", "2", []byte("second")) }}
	if err := door.kept.write(stream); err != nil {
		t.Fatal(err)
	}
	other, _ := opened(t)
	office := client{t, other.administration(), "admin", "admins"}
	stream.WriteString(whole)
	if answer := office.ask("POST", "/content", &stream.Buffer); answer.Code != 204 {
		t.Fatalf("restoring is answered by %d %s", answer.Code, answer.Body)
	}
	there := client{t, other, "parks.web.images", secret}
	if code := there.ask("GET", "/v2/parks/web/manifests/"+first, nil).Code; code != 200 {
		t.Errorf("the first image is answered by %d", code)
	}
	if code := there.ask("GET", "/v2/parks/web/manifests/2", nil).Code; code != 404 || second == "" {
		t.Errorf("a tag that was pushed meanwhile is answered by %d", code)
	}
}

// pushed does something when the first bytes were written to it.
type pushed struct {
	bytes.Buffer
	then func()
}

func (p *pushed) Write(text []byte) (int, error) {
	if then := p.then; then != nil {
		p.then = nil
		then()
	}
	return p.Buffer.Write(text)
}

func TestNothingIsCollectedWhileContentIsCopied(t *testing.T) {
	door, _ := opened(t)
	admin := client{t, door.administration(), "admin", "admins"}
	door.kept.content.RLock()
	if code := admin.ask("POST", "/collect", nil).Code; code != http.StatusConflict {
		t.Errorf("collecting is answered by %d", code)
	}
	if code := admin.ask("POST", "/content", strings.NewReader(whole)).Code; code != http.StatusConflict {
		t.Errorf("restoring is answered by %d", code)
	}
	door.kept.content.RUnlock()
	door.kept.content.Lock()
	if code := admin.ask("GET", "/content", nil).Code; code != http.StatusConflict {
		t.Errorf("copying beside a restore is answered by %d", code)
	}
	door.kept.content.Unlock()
	// A manifest whose bytes are gone is damage, of which no backup is made.
	parks := client{t, door, "parks.web.images", secret}
	_, digest := parks.image("parks/web", "1", []byte("layer"))
	if err := os.Remove(filepath.Join(door.kept.root(), blob(digest))); err != nil {
		t.Fatal(err)
	}
	if err := door.kept.write(io.Discard); err == nil {
		t.Error("a manifest without bytes is copied")
	}
}
