package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	secret       = "a-password-of-24-letters"
	manifestType = "application/vnd.oci.image.manifest.v1+json"
)

// opened is a door before a real registry, with the accounts of two tenants.
func opened(t *testing.T) (*door, *accounts) {
	t.Helper()
	directory := t.TempDir()
	known, err := openAccounts(filepath.Join(directory, "accounts"))
	if err != nil {
		t.Fatal(err)
	}
	for _, item := range []account{
		{Name: "parks.web.images", Owner: "parks/web/images", Tenant: "parks", Storage: 100_000},
		{Name: "roads.bus.images", Owner: "roads/bus/images", Tenant: "roads", Storage: 100_000},
	} {
		if err := known.put(item, secret); err != nil {
			t.Fatal(err)
		}
	}
	door, err := openDoor(t.Context(), filepath.Join(directory, "registry"), known, "admins", "nodes")
	if err != nil {
		t.Fatal(err)
	}
	return door, known
}

type client struct {
	t              *testing.T
	door           http.Handler
	user, password string
}

func (c client) ask(method, target string, content io.Reader, header ...string) *httptest.ResponseRecorder {
	request := httptest.NewRequest(method, target, content)
	if c.user != "" {
		request.SetBasicAuth(c.user, c.password)
	}
	request.Header.Set("Accept", manifestType)
	for index := 0; index < len(header); index += 2 {
		request.Header.Set(header[index], header[index+1])
	}
	answer := httptest.NewRecorder()
	c.door.ServeHTTP(answer, request)
	return answer
}

func digestOfBytes(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// blob pushes a blob as a whole, and returns the code of the first answer that is no success.
func (c client) blob(repository string, content []byte) int {
	begun := c.ask("POST", "/v2/"+repository+"/blobs/uploads/", nil)
	if begun.Code != http.StatusAccepted {
		return begun.Code
	}
	place := begun.Header().Get("Location") + "&digest=" + digestOfBytes(content)
	return c.ask("PUT", place, bytes.NewReader(content), "Content-Type", "application/octet-stream").Code
}

// image pushes an image of one layer, and returns the code of the last answer and the digest of the manifest.
func (c client) image(repository, tag string, layer []byte) (int, string) {
	config := []byte(`{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}`)
	for _, content := range [][]byte{config, layer} {
		if code := c.blob(repository, content); code != http.StatusCreated {
			return code, ""
		}
	}
	describe := func(kind string, content []byte) map[string]any {
		return map[string]any{"mediaType": kind, "digest": digestOfBytes(content), "size": len(content)}
	}
	manifest, _ := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": manifestType,
		"config": describe("application/vnd.oci.image.config.v1+json", config),
		"layers": []any{describe("application/vnd.oci.image.layer.v1.tar", layer)},
	})
	put := c.ask("PUT", "/v2/"+repository+"/manifests/"+tag, bytes.NewReader(manifest), "Content-Type", manifestType)
	return put.Code, digestOfBytes(manifest)
}

func TestRightsFollowFromTheTenant(t *testing.T) {
	door, _ := opened(t)
	parks := client{t, door, "parks.web.images", secret}
	roads := client{t, door, "roads.bus.images", secret}
	admin, node, nobody := client{t, door, "admin", "admins"}, client{t, door, "node", "nodes"}, client{t: t, door: door}
	if code, _ := parks.image("parks/web", "1", []byte("layer of parks")); code != 201 {
		t.Fatalf("a tenant's push is answered by %d", code)
	}
	if code, _ := admin.image("city/postgresql", "1", []byte("layer of the city")); code != 201 {
		t.Fatalf("the operator's push is answered by %d", code)
	}
	layer := digestOfBytes([]byte("layer of parks"))
	for _, item := range []struct {
		who            client
		method, target string
		code           int
	}{
		{parks, "GET", "/v2/", 200},
		{parks, "GET", "/v2/parks/web/manifests/1", 200},
		{parks, "GET", "/v2/parks/web/tags/list", 200},
		{parks, "GET", "/v2/parks/web/blobs/" + layer, 200},
		{parks, "GET", "/v2/city/postgresql/manifests/1", 403},
		{parks, "GET", "/v2/_catalog", 403},
		{parks, "POST", "/v2/parks/blobs/uploads/", 403},
		{parks, "POST", "/v2/parksx/web/blobs/uploads/", 403},
		{roads, "GET", "/v2/parks/web/manifests/1", 403},
		{roads, "HEAD", "/v2/parks/web/blobs/" + layer, 403},
		{roads, "GET", "/v2/roads/../parks/web/manifests/1", 301},
		{roads, "POST", "/v2/parks/web/blobs/uploads/", 403},
		{roads, "DELETE", "/v2/parks/web/manifests/" + layer, 403},
		{roads, "GET", "/v2/roads/web/blobs/" + layer, 404},
		// What may not be read is not mounted but uploaded.
		{roads, "POST", "/v2/roads/web/blobs/uploads/?from=parks/web&mount=" + layer, 202},
		{roads, "GET", "/v2/roads/web/blobs/" + layer, 404},
		{parks, "POST", "/v2/parks/own/blobs/uploads/?from=city/postgresql&mount=" + digestOfBytes([]byte("layer of the city")), 202},
		{parks, "POST", "/v2/parks/own/blobs/uploads/?from=parks/web&mount=" + layer, 201},
		{parks, "GET", "/v2/parks/own/blobs/" + layer, 200},
		{roads, "POST", "/v2/parks/web/blobs/uploads/?from=roads/web&mount=" + layer, 403},
		{roads, "POST", "/v2/city/web/blobs/uploads/", 403},
		{node, "GET", "/v2/city/postgresql/manifests/1", 200},
		{node, "GET", "/v2/parks/web/manifests/1", 403},
		{node, "POST", "/v2/city/postgresql/blobs/uploads/", 403},
		{node, "DELETE", "/v2/city/postgresql/manifests/1", 403},
		{admin, "GET", "/v2/_catalog", 200},
		{admin, "GET", "/v2/parks/web/manifests/1", 200},
		{nobody, "GET", "/v2/", 401},
		{nobody, "GET", "/v2/city/postgresql/manifests/1", 401},
		{client{t, door, "parks.web.images", "another"}, "GET", "/v2/parks/web/manifests/1", 401},
		{client{t, door, "parks.web.images", ""}, "GET", "/v2/", 401},
		{client{t, door, "", secret}, "GET", "/v2/", 401},
		{parks, "GET", "/debug/vars", 404},
		{nobody, "GET", "/health", 200},
	} {
		answer := item.who.ask(item.method, item.target, nil)
		if answer.Code != item.code {
			t.Errorf("%s %s as %q: %d %s, not %d", item.method, item.target, item.who.user, answer.Code, answer.Body, item.code)
		}
		if answer.Code == 403 && item.method != "HEAD" && !strings.Contains(answer.Body.String(), `"code":"DENIED"`) {
			t.Errorf("%s %s: %s", item.method, item.target, answer.Body)
		}
		if challenge := answer.Header().Get("WWW-Authenticate"); (challenge != "") != (answer.Code == 401) {
			t.Errorf("%s %s: %d with the challenge %q", item.method, item.target, answer.Code, challenge)
		}
	}
	if code := parks.ask("GET", "/v2/parks/web/blobs/"+layer, nil).Body.String(); code != "layer of parks" {
		t.Errorf("the layer is %q", code)
	}
}

func TestALimitHolds(t *testing.T) {
	door, known := opened(t)
	parks := client{t, door, "parks.web.images", secret}
	if code, _ := parks.image("parks/web", "1", bytes.Repeat([]byte("a"), 60_000)); code != 201 {
		t.Fatalf("a push that fits is answered by %d", code)
	}
	if code := parks.blob("parks/web", bytes.Repeat([]byte("b"), 60_000)); code != 403 {
		t.Errorf("a layer that does not fit is answered by %d", code)
	}
	// The length is not told in advance, as clients do that stream.
	begun := parks.ask("POST", "/v2/parks/web/blobs/uploads/", nil)
	streamed := struct{ io.Reader }{bytes.NewReader(bytes.Repeat([]byte("c"), 10_000_000))}
	answer := parks.ask("PATCH", begun.Header().Get("Location"), streamed)
	if answer.Code != 403 || !strings.Contains(answer.Body.String(), "do not fit") {
		t.Errorf("a stream that does not fit is answered by %d %s", answer.Code, answer.Body)
	}
	if used := bytesUnder(t, door.kept.directory); used > 300_000 {
		t.Errorf("%d bytes of it are on the volume", used)
	}
	if code := (client{t, door, "roads.bus.images", secret}).blob("roads/web", bytes.Repeat([]byte("d"), 60_000)); code != 201 {
		t.Errorf("another tenant's layer is answered by %d", code)
	}
	// A second account of the tenant adds its share.
	_ = known.put(account{Name: "parks.two.images", Owner: "parks/two/images", Tenant: "parks", Storage: 900_000}, secret)
	if code := parks.blob("parks/web", bytes.Repeat([]byte("e"), 60_000)); code != 201 {
		t.Errorf("a layer that fits now is answered by %d", code)
	}
}

func TestAFullVolumeIsReadAndEmptied(t *testing.T) {
	door, _ := opened(t)
	parks, admin := client{t, door, "parks.web.images", secret}, client{t, door, "admin", "admins"}
	layer := bytes.Repeat([]byte("a"), 60_000)
	code, manifest := parks.image("parks/web", "1", layer)
	if code != 201 {
		t.Fatalf("a push that fits is answered by %d", code)
	}
	room := bytesUnder(t, door.kept.directory) + 100_000
	door.kept.space = func(directory string) (int64, int64) {
		free := reserve + room - bytesUnder(t, directory)
		return free, free
	}
	refused := func(what string, answer *httptest.ResponseRecorder) {
		t.Helper()
		if answer.Code != 403 || !strings.Contains(answer.Body.String(), "the volume of the registry is full") {
			t.Errorf("%s is answered by %d %s", what, answer.Code, answer.Body)
		}
	}
	// No limit of an account ends what the operator pushes, and its length is not told in advance.
	begun := admin.ask("POST", "/v2/city/debian/blobs/uploads/", nil)
	streamed := struct{ io.Reader }{bytes.NewReader(bytes.Repeat([]byte("b"), 10_000_000))}
	refused("a stream", admin.ask("PATCH", begun.Header().Get("Location"), streamed))
	if used := bytesUnder(t, door.kept.directory); used > room+100_000 {
		t.Errorf("%d bytes are on the volume, of %d", used, room)
	}
	refused("a push to the full volume", parks.ask("POST", "/v2/parks/web/blobs/uploads/", nil))
	if code := parks.ask("GET", "/v2/parks/web/blobs/"+digestOfBytes(layer), nil).Code; code != 200 {
		t.Errorf("a pull from the full volume is answered by %d", code)
	}
	if code := parks.ask("DELETE", "/v2/parks/web/manifests/"+manifest, nil).Code; code != 202 {
		t.Errorf("a deletion on the full volume is answered by %d", code)
	}
	collected := (client{t, door.administration(), "admin", "admins"}).ask("POST", "/collect", nil)
	if collected.Code != 200 || bytesUnder(t, door.kept.directory) > room+40_000 {
		t.Errorf("collecting on the full volume is answered by %d %s", collected.Code, collected.Body)
	}
	room += 1_000_000
	if code, _ := parks.image("parks/web", "2", []byte("layer")); code != 201 {
		t.Errorf("a push where there is room again is answered by %d", code)
	}
}

func bytesUnder(t *testing.T, directory string) (bytes int64) {
	t.Helper()
	err := filepath.Walk(directory, func(_ string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			bytes += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return bytes
}

func TestGarbageIsCollected(t *testing.T) {
	door, _ := opened(t)
	parks := client{t, door, "parks.web.images", secret}
	admin := client{t, door.administration(), "admin", "admins"}
	if freed := admin.ask("POST", "/collect", nil); freed.Code != 200 || freed.Body.String() != "freed 0\n" {
		t.Fatalf("an empty registry: %d %s", freed.Code, freed.Body)
	}
	door.pushing.RLock()
	if refused := admin.ask("POST", "/collect", nil); refused.Code != 409 {
		t.Errorf("collecting beside a push is answered by %d", refused.Code)
	}
	door.pushing.RUnlock()
	large, small := bytes.Repeat([]byte("l"), 50_000), []byte("small")
	_, first := parks.image("parks/web", "1", large)
	_, second := parks.image("parks/web", "2", small)
	// Begun, and nothing else: the repository has no layers.
	begun := parks.ask("POST", "/v2/parks/other/blobs/uploads/", nil)
	if answer := parks.ask("DELETE", "/v2/parks/web/manifests/"+first, nil); answer.Code != 202 {
		t.Fatalf("a tenant's deletion is answered by %d %s", answer.Code, answer.Body)
	}
	freed := admin.ask("POST", "/collect", nil)
	var bytesFreed int64
	if _, err := fmt.Sscanf(freed.Body.String(), "freed %d", &bytesFreed); err != nil || bytesFreed < 50_000 {
		t.Fatalf("collecting is answered by %d %s", freed.Code, freed.Body)
	}
	if code := parks.ask("HEAD", "/v2/parks/web/blobs/"+digestOfBytes(large), nil).Code; code != 404 {
		t.Errorf("the layer is there: %d", code)
	}
	for _, target := range []string{"/v2/parks/web/manifests/" + second, "/v2/parks/web/blobs/" + digestOfBytes(small)} {
		if code := parks.ask("GET", target, nil).Code; code != 200 {
			t.Errorf("%s: %d", target, code)
		}
	}
	place := begun.Header().Get("Location") + "&digest=" + digestOfBytes(small)
	if code := parks.ask("PUT", place, bytes.NewReader(small)).Code; code != 201 {
		t.Errorf("an upload that was begun before is answered by %d", code)
	}
	if code, _ := parks.image("parks/web", "1", large); code != 201 {
		t.Errorf("pushing it again is answered by %d", code)
	}
}

func TestGarbageIsNoneThatAPushHasJustFound(t *testing.T) {
	door, _ := opened(t)
	parks := client{t, door, "parks.web.images", secret}
	layer := []byte("layer")
	if code := parks.blob("parks/web", layer); code != 201 {
		t.Fatal(code)
	}
	for _, item := range []struct {
		method, target string
		idle           bool
	}{
		{"GET", "/v2/parks/web/blobs/" + digestOfBytes(layer), true},
		{"HEAD", "/v2/parks/web/blobs/" + digestOfBytes([]byte("another")), true},
		{"HEAD", "/v2/parks/web/blobs/" + digestOfBytes(layer), false},
	} {
		door.counters.pushed = time.Now().Add(-2 * settled)
		parks.ask(item.method, item.target, nil)
		if door.counters.idle(settled) != item.idle {
			t.Errorf("after %s %s it is idle: %v", item.method, item.target, !item.idle)
		}
	}
}

func TestGarbageIsCollectedSoonerWhereTheVolumeIsNearlyFull(t *testing.T) {
	door, _ := opened(t)
	for _, item := range []struct {
		free   int64
		since  time.Duration
		wanted bool
	}{
		{50, 2 * hurried, false}, {50, 2 * settled, true}, {9, hurried / 2, false}, {9, 2 * hurried, true},
	} {
		door.kept.space = func(string) (int64, int64) { return item.free, 100 }
		door.counters.pushed = time.Now().Add(-item.since)
		if door.isDue() != item.wanted {
			t.Errorf("%d %% free, %s after a push: %v", item.free, item.since, !item.wanted)
		}
	}
	door.counters.collected()
	if door.isDue() {
		t.Error("it is collected again though nothing was pushed")
	}
}

func TestLayersOfAPushThatDidNotFitAreGarbage(t *testing.T) {
	door, _ := opened(t)
	parks := client{t, door, "parks.web.images", secret}
	admin := client{t, door.administration(), "admin", "admins"}
	if freed := admin.ask("POST", "/collect", nil); freed.Code != 200 || door.counters.dirty() {
		t.Fatal(freed.Code, freed.Body)
	}
	// Of an image of two layers the second does not fit, so that there is no manifest.
	if code := parks.blob("parks/web", bytes.Repeat([]byte("a"), 60_000)); code != 201 {
		t.Fatal(code)
	}
	if code := parks.blob("parks/web", bytes.Repeat([]byte("b"), 60_000)); code != 403 {
		t.Fatal(code)
	}
	if !door.counters.dirty() {
		t.Fatal("nobody collects the layers of a push that was given up")
	}
	admin.ask("POST", "/collect", nil)
	if code := parks.blob("parks/web", bytes.Repeat([]byte("b"), 60_000)); code != 201 {
		t.Errorf("there is no room afterwards: %d", code)
	}
}

func TestAnImageOfWhichOnePlatformIsDeletedKeepsTheOthers(t *testing.T) {
	door, _ := opened(t)
	parks := client{t, door, "parks.web.images", secret}
	admin := client{t, door.administration(), "admin", "admins"}
	one, other := []byte("layer of amd64"), []byte("layer of arm64")
	_, first := parks.image("parks/web", "amd64", one)
	_, second := parks.image("parks/web", "arm64", other)
	kind := "application/vnd.oci.image.index.v1+json"
	entry := func(digest, architecture string) map[string]any {
		size := len(parks.ask("GET", "/v2/parks/web/manifests/"+digest, nil).Body.Bytes())
		platform := map[string]string{"os": "linux", "architecture": architecture}
		return map[string]any{"mediaType": manifestType, "digest": digest, "size": size, "platform": platform}
	}
	index, _ := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": kind, "manifests": []any{entry(first, "amd64"), entry(second, "arm64")},
	})
	if code := parks.ask("PUT", "/v2/parks/web/manifests/1", bytes.NewReader(index), "Content-Type", kind).Code; code != 201 {
		t.Fatal(code)
	}
	if code := parks.ask("DELETE", "/v2/parks/web/manifests/"+second, nil).Code; code != 202 {
		t.Fatal(code)
	}
	// Without it, its layer goes; the collector goes on at what the index still names.
	if freed := admin.ask("POST", "/collect", nil); freed.Code != 200 {
		t.Fatalf("collecting is answered by %d %s", freed.Code, freed.Body)
	}
	for target, wanted := range map[string]int{
		"/v2/parks/web/manifests/1": 200, "/v2/parks/web/manifests/" + first: 200, "/v2/parks/web/manifests/" + second: 404,
		"/v2/parks/web/blobs/" + digestOfBytes(one): 200, "/v2/parks/web/blobs/" + digestOfBytes(other): 404,
	} {
		if code := parks.ask("GET", target, nil, "Accept", kind+", "+manifestType).Code; code != wanted {
			t.Errorf("%s: %d, not %d", target, code, wanted)
		}
	}
}

func TestAnUploadGoesOnAfterARestart(t *testing.T) {
	door, known := opened(t)
	parks := client{t, door, "parks.web.images", secret}
	begun := parks.ask("POST", "/v2/parks/web/blobs/uploads/", nil)
	half := parks.ask("PATCH", begun.Header().Get("Location"), strings.NewReader("first "))
	if half.Code != 202 || half.Header().Get("Range") != "0-5" {
		t.Fatalf("%d %v", half.Code, half.Header())
	}
	again, err := openDoor(t.Context(), door.kept.directory, known, "admins", "nodes")
	if err != nil {
		t.Fatal(err)
	}
	parks.door = again
	asked := parks.ask("GET", half.Header().Get("Location"), nil)
	if asked.Code != 204 || asked.Header().Get("Range") != "0-5" {
		t.Fatalf("%d %v", asked.Code, asked.Header())
	}
	place := asked.Header().Get("Location") + "&digest=" + digestOfBytes([]byte("first second"))
	if code := parks.ask("PUT", place, strings.NewReader("second")).Code; code != 201 {
		t.Errorf("its end is answered by %d", code)
	}
}

func TestAccountsAreTheAdministrators(t *testing.T) {
	door, known := opened(t)
	admin := client{t, door.administration(), "admin", "admins"}
	do := func(method, target, body string, wanted int) {
		t.Helper()
		if answer := admin.ask(method, target, strings.NewReader(body)); answer.Code != wanted {
			t.Errorf("%s %s: %d %s, not %d", method, target, answer.Code, answer.Body, wanted)
		}
	}
	for _, who := range []client{{t, admin.door, "parks.web.images", secret}, {t, admin.door, "node", "nodes"}, {t: t, door: admin.door}} {
		for _, item := range [][2]string{{"GET", "/accounts"}, {"POST", "/collect"}, {"DELETE", "/accounts/roads.bus.images"}} {
			if code := who.ask(item[0], item[1], nil).Code; code != 401 {
				t.Errorf("%s %s as %q: %d", item[0], item[1], who.user, code)
			}
		}
	}
	name, owner := "/accounts/parks.web.images", "?owner=parks/web/images"
	do("PUT", name+"?owner=roads/bus/images&tenant=roads&storage=9", secret, 409)
	do("PUT", name+owner+"&tenant=roads&storage=9", secret, 400)
	do("PUT", name+owner+"&tenant=parks&storage=0", secret, 400)
	do("PUT", name+owner+"&tenant=parks&storage=9", "short", 400)
	do("PUT", "/accounts/city.web.images?owner=city/web/images&tenant=city&storage=9", secret, 400)
	do("PUT", "/accounts/..%2f..%2fpasswd"+owner+"&tenant=parks&storage=9", secret, 400)
	parks := client{t, door, "parks.web.images", secret}
	if code, _ := parks.image("parks/web", "1", []byte("layer")); code != 201 {
		t.Fatal(code)
	}
	told := client{t: t, door: admin.door}.ask("GET", "/metrics", nil).Body.String()
	for _, wanted := range []string{
		`wecity_registry_pushes_total{tenant="parks",app="web"} 1`, `wecity_registry_limit_bytes{tenant="parks"} 100000`,
		`wecity_registry_stored_bytes{tenant="roads"} 0`, "wecity_volume_bytes_used ",
		// What has not happened is counted too.
		`wecity_registry_pulls_total{tenant="parks",app="web"} 0`, `wecity_registry_pushes_total{tenant="",app=""} 0`,
	} {
		if !strings.Contains(told, wanted+"\n") && !strings.Contains(told, "\n"+wanted) && !strings.HasPrefix(told, wanted) {
			t.Errorf("%s is not in %s", wanted, told)
		}
	}
	do("POST", name+"/lock?owner=roads/bus/images", "", 204)
	if code := parks.ask("GET", "/v2/", nil).Code; code != 200 {
		t.Errorf("another owner locks the account: %d", code)
	}
	do("POST", name+"/lock"+owner, "", 204)
	if code := parks.ask("GET", "/v2/", nil).Code; code != 401 {
		t.Errorf("a locked account signs in: %d", code)
	}
	again, err := openAccounts(known.directory)
	if err != nil || len(again.known) != 2 || again.known["parks.web.images"].Locked == 0 {
		t.Errorf("what is kept: %v %v", again.known, err)
	}
	text, _ := os.ReadFile(known.file("roads.bus.images"))
	if strings.Contains(string(text), secret) || !strings.Contains(string(text), `"sha256"`) {
		t.Errorf("an account's file: %s", text)
	}
	listed := admin.ask("GET", "/accounts", nil).Body.String()
	if !strings.Contains(listed, "account parks.web.images parks/web/images ") || !strings.Contains(listed, " locked 1") ||
		!strings.Contains(listed, "account roads.bus.images roads/bus/images 0 open -\n") {
		t.Error(listed)
	}
	do("PUT", name+owner+"&tenant=parks&storage=100000", secret, 204)
	if code := parks.ask("GET", "/v2/parks/web/manifests/1", nil).Code; code != 200 {
		t.Errorf("an account that is opened again pulls: %d", code)
	}
	do("PUT", "/accounts/parks.two.images?owner=parks/two/images&tenant=parks&storage=9", secret, 204)
	do("DELETE", "/accounts/parks.two.images?owner=parks/two/images", "", 204)
	if code := parks.ask("GET", "/v2/parks/web/manifests/1", nil).Code; code != 200 {
		t.Errorf("deleting one of two accounts takes the repositories: %d", code)
	}
	do("DELETE", name+owner, "", 204)
	if code := (client{t, door, "admin", "admins"}).ask("GET", "/v2/parks/web/manifests/1", nil).Code; code != 404 {
		t.Errorf("deleting the last account leaves the repositories: %d", code)
	}
}

func TestAStalledPushEnds(t *testing.T) {
	door, _ := opened(t)
	door.patience = 50 * time.Millisecond
	server := httptest.NewServer(door)
	defer server.Close()
	parks := client{t, door, "parks.web.images", secret}
	place := parks.ask("POST", "/v2/parks/web/blobs/uploads/", nil).Header().Get("Location")
	stalled, sending := io.Pipe()
	request, _ := http.NewRequest("PATCH", server.URL+place, stalled)
	request.SetBasicAuth(parks.user, parks.password)
	go func() { _, _ = sending.Write([]byte("first")) }()
	done := make(chan string, 1)
	go func() {
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			done <- err.Error()
			return
		}
		answer.Body.Close()
		done <- answer.Status
	}()
	select {
	case told := <-done:
		if strings.HasPrefix(told, "2") {
			t.Errorf("it is answered by %s", told)
		}
	case <-time.After(10 * time.Second):
		t.Error("it has not ended")
	}
	_ = sending.Close()
	// What comes in time is taken, over a connection of which others were slow.
	if code, _ := parks.image("parks/web", "1", []byte("layer")); code != 201 {
		t.Errorf("a push afterwards is answered by %d", code)
	}
}
