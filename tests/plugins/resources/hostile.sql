-- What hostile requests are sent to: hidden columns, generated ones, a column of each kind, rows to lose.

CREATE TABLE notes (id int PRIMARY KEY, body text, price numeric, "select" text, made_at timestamptz, password text);
CREATE TABLE words (word text PRIMARY KEY);
CREATE TABLE pairs (a int, b text, PRIMARY KEY (a, b));
CREATE TABLE marks (id int PRIMARY KEY, note_id int REFERENCES notes);
CREATE TABLE tagged (id int PRIMARY KEY, tags text[], marks int[], vector int2vector);
INSERT INTO tagged VALUES (1, '{a}', '{1}', '1 2');
INSERT INTO notes VALUES (1, 'one', 1.5, 'x', '2026-01-01', 'hunter2'), (2, NULL, NULL, NULL, NULL, 'hunter3');
INSERT INTO words VALUES ('it''s'), ('100%'), ('a_b');
INSERT INTO marks VALUES (1, 1);

CREATE TYPE role AS ENUM ('guest', 'admin');
CREATE DOMAIN zip AS text CHECK (VALUE ~ '^[0-9]{5}$');
CREATE TYPE place AS (street varchar(10), zip zip, at point);
CREATE TABLE accounts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email text UNIQUE NOT NULL,
    role role NOT NULL DEFAULT 'guest',
    credit numeric(10, 2) NOT NULL DEFAULT 0 CONSTRAINT no_debts CHECK (credit >= 0),
    age int2, visits int4, total int8, exact numeric, ratio float8, weight float4, active bool,
    uid uuid, born date, wakes_at time, seen_at timestamptz, ip inet, net cidr, span interval,
    code char(3), nick varchar(5), bits bit(3), tags text[], scores int[], matrix int[], photos bytea[],
    meta jsonb, docs jsonb[], data bytea, place place, places place[], ranges int4range,
    note_id int REFERENCES notes,
    doubled numeric GENERATED ALWAYS AS (credit * 2) STORED,
    updated_at timestamptz NOT NULL DEFAULT '2026-01-01',
    password_hash text NOT NULL DEFAULT 'hunter4', api_token text DEFAULT 'hunter5', internal int DEFAULT 6
);
INSERT INTO accounts (email) VALUES ('ada@example.com'), ('bob@example.com');
