package commands

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/events"
)

// Keys that have the form of real ones are put together here, so that no scanner of
// repositories takes them for such.
var (
	hex32  = strings.Repeat("0a1b2c3d", 4)
	mixed  = strings.Repeat("aB3dE5gH", 5)
	upper  = "IOSFODNN7EXAMPLE"
	jwt    = "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0NTY3ODkwIn0." + "dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P"
	pem    = "-----BEGIN RSA PRIVATE" + " KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----"
	bcrypt = "$2b$12$" + strings.Repeat("abcdefghijk", 4) + "abcdefghi"
)

func TestSecrets_InText_AreFound(t *testing.T) {
	for _, s := range []string{
		"postgres://app:hunter2@db.example/app",
		"postgresql://app:hunter2@db.example:5432/app?sslmode=require",
		"see mysql://root:r%40ot@10.0.0.1 for more",
		"mongodb+srv://u:p@cluster0.mongodb.net/test",
		"redis://:s3cret@cache:6379/0",
		"amqp://guest:guest@mq:5672/%2f",
		"jdbc:postgresql://u:p4ss@h/db",
		"https://user:pass@git.example/x.git",
		"smtp://a:b1@mail.example",
		"app:hunter2@tcp(10.0.0.1:3306)/app?parseTime=true",
		"scott/tiger@//ora.example:1521/XE",
		"host=db user=app password=hunter2 dbname=app",
		"Server=db;Database=app;User Id=sa;Password=Hunter2!;",
		"Server=db;Uid=sa;Pwd='Hunter2';Encrypt=true",
		"DB_PASSWORD=hunter2",
		"export PGPASSWORD=hunter2 db_password = hunter2",
		"jdbc:sqlserver://db;user=sa;password={hunter 2}x",
		"DefaultEndpointsProtocol=https;AccountName=a;AccountKey=" + mixed + "==",
		"Endpoint=sb://x.servicebus.windows.net/;SharedAccessKeyName=k;SharedAccessKey=" + mixed,
		"https://api.example/v1?api_key=" + hex32,
		"https://x.blob.core.windows.net/c?sv=2024&sig=" + mixed,
		"token=" + hex32,
		`{"user":"app","password":"hunter2"}`,
		"user: app\npassword: hunter2\n",
		pem,
		"-----BEGIN PRIVATE" + " KEY-----",
		"-----BEGIN OPENSSH PRIVATE" + " KEY-----",
		"-----BEGIN PGP PRIVATE KEY" + " BLOCK-----",
		"AGE-SECRET-KEY-1" + strings.Repeat("QX", 20),
		"AK" + "IA" + upper,
		"key AS" + "IA" + upper + " of prod",
		"gh" + "p_" + mixed[:36],
		"gh" + "s_" + mixed[:36],
		"github" + "_pat_" + mixed,
		"glp" + "at-" + mixed[:20],
		"xo" + "xb-123456789012-" + mixed,
		"https://hooks.slack.com/services/" + "T00000000/B00000000/" + mixed[:24],
		"sk" + "_live_" + mixed[:24],
		"rk" + "_live_" + mixed[:24],
		"sk" + "_test_" + mixed[:24],
		"wh" + "sec_" + mixed[:32],
		"AI" + "za" + mixed[:35],
		"sk-" + "proj-" + mixed,
		"sk-" + mixed,
		"SG." + mixed[:22] + "." + mixed,
		"npm" + "_" + mixed[:36],
		"hv" + "s." + mixed,
		"dop" + "_v1_" + hex32 + hex32,
		"shp" + "at_" + hex32,
		"123456789:AA" + mixed[:33],
		jwt,
		"Authorization: Bearer " + mixed,
		"Authorization: Basic dXNlcjpwYXNz",
		bcrypt,
		"$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA",
	} {
		if secretIn(s) == "" {
			t.Errorf("%q is taken, want it found to be a secret", s)
		}
	}
}

func TestSecrets_InTextThatOnlySpeaksOfThem_AreNotFound(t *testing.T) {
	for _, s := range []string{
		"Acme", "Österreichische Nationalbank", "Bank of America, N.A.", "A=B GmbH", "Foo: Bar & Söhne", "1=1", "S.O.S. Inc",
		"Secret Escapes Ltd", "Token Ring Museum", "Password Inc.", "1Password", "Basic Internationalisation Ltd", "bearer of bad news",
		"forgot password: see ticket 4711", "password reset", "rotate the password=… in vault", "reason: customer asked for a new token",
		"postgres://db.example/app", "postgres://app@db.example:5432/app", "https://example.com:8443/a@b", "https://medium.com/@user/x",
		"http://host:80?mail=a@b.example", "mailto:a@b.example", "ssh://git@git.example:22/x.git", "git@git.example:x/y.git",
		"postgres://app:${DB_PASSWORD}@db/app", "postgres://app:$DB_PASSWORD@db/app", "postgres://{{user}}:{{password}}@db/app",
		"postgres://app:****@db/app", "postgres://app:xxxxx@db/app", "postgres://user:<password>@db/app",
		"password=", "password=${PASSWORD}", "password={{ .Password }}", "password=vault://kv/pg#password", "password=required",
		"token=abc", "max_token=4096", "secret=no", "user.password == confirm", "token_url=https://auth.example/token",
		"https://auth.example/reset?token=abc", "https://example.com/?a=b&c=d",
		"vault://kv/data/pg#password", "aws-sm://prod/pg/password", "env://DB_PASSWORD", "file:///run/secrets/db_password",
		`<input type="password" name="p">`, "policy: password must have 12 characters", "sk-learn", "scikit sk-what-ever-this-is-called",
		"ghp_short", "SG.1", "eyJ is how a JWT begins", "-----BEGIN CERTIFICATE-----", "-----BEGIN PUBLIC KEY-----",
		"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIabcdefghijklmnopqrstuvwxyz0123456789 me@host",
		"c2hhMjU2LWFiY2RlZmdoaWprbG1ub3A=", "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
		"550e8400-e29b-41d4-a716-446655440000", "2026-03-01T09:00:00Z", "arn:aws:iam::123456789012:role/app", "eu-west-1:AAb",
	} {
		if kind := secretIn(s); kind != "" {
			t.Errorf("%q is found to be %s, want it taken", s, kind)
		}
	}
}

func TestSecrets_ByTheNameOfWhatHoldsThem_AreTold(t *testing.T) {
	for name, want := range map[string]bool{
		"password": true, "db_password": true, "smtp.password": true, "PASSWORD": true, "dbPassword": true, "userPwd": true,
		"secret": true, "clientSecret": true, "client-secret": true, "webhook_secret": true, "token": true, "API_TOKEN": true,
		"botToken": true, "apiKey": true, "api_key": true, "APIKey": true, "apikey": true, "x-api-key": true, "private_key": true,
		"privateKey": true, "aws.secret_access_key": true, "signing-key": true, "passphrase": true, "credentials": true, "smtp_pass": true,

		"password_policy": false, "passwordMinLength": false, "token_ttl": false, "tokenUrl": false, "max_tokens": false, "secret_ref": false,
		"secretName": false, "key": false, "public_key": false, "keyboard": false, "pass": false, "boarding_pass": false, "compass": false,
		"secretary": false, "tokenizer": false, "theme": false, "": false, "...": false, "api_key_id": false, "author": false,
	} {
		if got := isSecretName(name); got != want {
			t.Errorf("isSecretName(%q) = %t, want %t", name, got, want)
		}
	}
}

func TestSecrets_InAConfigurationValue_AreRefusedWhereTheyStand(t *testing.T) {
	for _, tt := range []struct {
		key, value string
		at         []string // none: taken
	}{
		{"dsn", `"postgres://app:hunter2@db/app"`, []string{"/value"}},
		{"db", `{"primary":{"urls":["postgres://db/a","postgres://u:p@db/b"]}}`, []string{"/value/primary/urls/1"}},
		{"db", `{"a":"password=hunter2","b":["x",{"c":"password=hunter3"}]}`, []string{"/value/a", "/value/b/1/c"}},
		{"password", `"hunter2"`, []string{"/value"}},
		{"smtp.password", `"hunter2"`, []string{"/value"}},
		{"passwords", `["hunter2"]`, nil},
		{"password", `["hunter2","env://P"]`, []string{"/value/0"}},
		{"smtp", `{"host":"mail.example","password":"hunter2"}`, []string{"/value/password"}},
		{"smtp", `{"auth":{"apiKey":"abc"},"api~key":"y1","a/b":{"token":["t"]}}`, []string{"/value/auth/apiKey", "/value/api~0key", "/value/a~1b/token/0"}},
		{"smtp", `{"password":{"value":"hunter3x","from":"kv"}}`, []string{"/value/password/value"}},
		{"db", `"postgres://u:pa/ss@h/db"`, []string{"/value"}},
		{"password", `"env://PGPASS=hunter2hunter2"`, []string{"/value"}},
		{"x", `{"postgres://u:p@h":1}`, []string{"/value/postgres:~1~1u:p@h"}},

		{"password", `"vault://kv/acme#password"`, nil},
		{"password", `"env://ACME_PASSWORD"`, nil},
		{"smtp", `{"password":"aws-sm://prod/smtp"}`, nil},
		{"smtp", `{"password":"file:///run/secrets/smtp"}`, nil},
		{"smtp", `{"password":"${SMTP_PASSWORD}"}`, nil},
		{"password", `""`, nil},
		{"password", `null`, nil},
		{"password", `{"min_length":12,"rule":"one digit"}`, nil},
		{"smtp", `{"password":{"from":"kv"}}`, nil},
		{"form", `{"password":"required"}`, nil},
		{"oidc", `{"token":"https://auth.example/token","issuer":"https://auth.example"}`, nil},
		{"limits", `{"token":4096,"secret":true}`, nil},
		{"theme", `{"dark":true,"name":"Secret garden"}`, nil},
		{"password", `"vault://u:p@vault/kv"`, []string{"/value"}},
		{"password", `"vault://"`, []string{"/value"}},
	} {
		err := Check(SetConfig{ID: acme, Key: tt.key, Value: jsontext.Value(tt.value)})
		var r *Refusal
		switch {
		case len(tt.at) == 0 && err != nil:
			t.Errorf("%s = %s: %v, want it taken", tt.key, tt.value, err)
		case len(tt.at) > 0 && !errors.As(err, &r):
			t.Errorf("%s = %s is taken, want it refused at %v", tt.key, tt.value, tt.at)
		case len(tt.at) > 0:
			var at []string
			for _, f := range r.Fields {
				at = append(at, f.Pointer)
				if !strings.Contains(f.Detail, "vault://") {
					t.Errorf("%s = %s: %q does not say to store a reference", tt.key, tt.value, f.Detail)
				}
				if strings.Contains(f.Detail, "hunter") {
					t.Errorf("%s = %s: the refusal %q tells the secret", tt.key, tt.value, f.Detail)
				}
			}
			if !slices.Equal(at, tt.at) {
				t.Errorf("%s = %s is refused at %v, want %v", tt.key, tt.value, at, tt.at)
			}
		}
	}
}

func TestSecrets_InAValue_AreRefusedByTheNameOfTheirKey(t *testing.T) {
	for _, tt := range []struct{ key, value, at, says string }{
		{"api_key", `"x1"`, "", `"api_key" is called like a secret`},
		{"password", `["x1"]`, "/0", `"password" is called like a secret`},
		{"db", `{"password":"x1"}`, "/password", `"password" in "db" is called like a secret`},
		{"db", `{"hosts":[{"token":["x1"]}]}`, "/hosts/0/token/0", `"token" in "db" is called like a secret`},
		{"dsn", `"postgres://u:p@h/d"`, "", `the value of "dsn" looks like a URL with a password`},
		{"db", `[{"dsn":"postgres://u:p@h/d"}]`, "/0/dsn", `the value of "dsn" in "db" looks like a URL with a password`},
	} {
		for body, c := range map[string]Command{
			"/value":            SetConfig{acme, tt.key, raw(tt.value)},
			"/config/" + tt.key: RegisterTenant{ID: acme, Name: "Acme", HomeRegion: "eu-west", Config: map[string]jsontext.Value{tt.key: raw(tt.value)}},
		} {
			r, ok := errors.AsType[*Refusal](Check(c))
			if !ok || len(r.Fields) != 1 || r.Fields[0].Pointer != body+tt.at || !strings.HasPrefix(r.Fields[0].Detail, tt.says) {
				t.Errorf("%s = %s: got %v, want %s: %s", tt.key, tt.value, r, body+tt.at, tt.says)
			}
		}
	}
}

func TestSecrets_InEveryFieldThatIsText_AreRefused(t *testing.T) {
	const dsn = "postgres://u:p@h/d"
	token := "gh" + "p_" + mixed[:36]
	register := RegisterTenant{ID: acme, Name: "Acme", HomeRegion: "eu-west"}
	named, configured, featured := register, register, register
	named.Name = dsn
	configured.Config = map[string]jsontext.Value{"a": raw(`1`), "b": raw(`{"c":["` + dsn + `"]}`)}
	featured.Products = map[string]events.Product{"jira": {Plan: token, Features: []string{"sso", dsn}}}
	database := RegisterDatabase{ID: db("one"), Engine: "postgres", Region: "r", Endpoint: events.Endpoint{Host: "h", Port: 1}}
	ref := func(s string) Command {
		c := database
		c.Endpoint.SecretRef = s
		return c
	}
	for _, tt := range []struct {
		c  Command
		at []string
	}{
		{named, []string{"/name"}},
		{configured, []string{"/config/b/c/0"}},
		{featured, []string{"/products/jira/plan", "/products/jira/features/1"}},
		{ChangeTenant{ID: acme, Name: new("password=hunter2")}, []string{"/name"}},
		{SetProduct{acme, "jira", events.Product{Plan: token}}, []string{"/plan"}},
		{SetProduct{acme, "jira", events.Product{Plan: "p", Features: []string{dsn}}}, []string{"/features/0"}},
		{AssignDatabase{acme, db("one"), dsn}, []string{"/name"}},
		{CreateGroup{ID: grp("g"), Name: token}, []string{"/name"}},
		{ChangeGroup{ID: grp("g"), Name: new(jwt)}, []string{"/name"}},
		{ref("hunter2"), []string{"/secret_ref"}},
		{ref("postgres://u:p@h/d"), []string{"/secret_ref"}},
		{ref("https://vault.example/kv"), []string{"/secret_ref"}},
		{ref("vault://"), []string{"/secret_ref"}},
		{ref("vault:///"), []string{"/secret_ref"}},
		{ref("vault://user:pass@vault.example/kv"), []string{"/secret_ref"}},
		{ref("vault://kv/pg?password=hunter2"), []string{"/secret_ref"}},
		{ref("vault://kv/" + token), []string{"/secret_ref"}},
		{ref("env://A B"), []string{"/secret_ref"}},
		{ref("VAULT://kv/pg"), []string{"/secret_ref"}},
		{ref("file:///run/secrets/\xff"), []string{"/secret_ref"}},
		{ref("vault://kv/data/pg#password"), nil},
		{ref("aws-sm://prod/pg"), nil},
		{ref("env://DB_PASSWORD"), nil},
		{ref("file:///run/secrets/pg"), nil},
		{ref("vault://ns@vault.example/kv/pg"), nil},
	} {
		err := Check(tt.c)
		var at []string
		if r, ok := errors.AsType[*Refusal](err); ok {
			for _, f := range r.Fields {
				at = append(at, f.Pointer)
			}
			checkAdvice(t, r)
		}
		if !slices.Equal(at, tt.at) {
			t.Errorf("%#v is refused at %v (%v), want %v", tt.c, at, err, tt.at)
		}
	}
}

// Whatever the value, a fault is at a place that the request's body has.
func FuzzSetConfig_OfAnyValue_PointsIntoTheBody(f *testing.F) {
	f.Add("smtp", `{"auth":{"apiKey":"abc"},"a/b":[{"token":["t", "postgres://u:p@h"]}],"~":{}}`)
	f.Add("password", `[["x1"],{"":"password=hunter2"}]`)
	f.Add("k", `"\u0000"`)
	f.Fuzz(func(t *testing.T, key, value string) {
		err := Check(SetConfig{ID: acme, Key: key, Value: jsontext.Value(value)})
		r, ok := errors.AsType[*Refusal](err)
		if !ok {
			if !jsontext.Value(value).IsValid() {
				t.Fatalf("%q is taken, and is no JSON", value)
			}
			return
		}
		for _, field := range r.Fields {
			if field.Pointer == "/value" {
				continue
			}
			var body any
			if err := json.Unmarshal([]byte(`{"value":`+value+`}`), &body); err != nil {
				if !slices.ContainsFunc(r.Fields, func(f FieldError) bool { return f.Pointer == "/value" }) {
					t.Fatalf("%q is no JSON, and only %v is at fault", value, r.Fields)
				}
				return
			}
			for token := range jsontext.Pointer(field.Pointer).Tokens() {
				switch in := body.(type) {
				case map[string]any:
					next, has := in[token]
					if !has {
						t.Fatalf("%q has the fault %v, and nothing there", value, field)
					}
					body = next
				case []any:
					i, err := strconv.Atoi(token)
					if err != nil || i >= len(in) {
						t.Fatalf("%q has the fault %v, and nothing there", value, field)
					}
					body = in[i]
				default:
					t.Fatalf("%q has the fault %v, and nothing there", value, field)
				}
			}
		}
	})
}
