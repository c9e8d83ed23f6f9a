#!/usr/bin/env python3
"""make_template_cases.py: writes tests/data/chat_templates/own.jsonl: small templates and what jinja2 makes of them.

Needs jinja2 (made with 3.1.6 on Python 3.11). The environment is the one that transformers compiles chat templates in:
immutable sandbox, trim_blocks, lstrip_blocks, loop controls, {% generation %}, tojson by json.dumps, raise_exception,
strftime_now (here always 2026-01-02 03:04:05). The first line holds the variables; each other line a template with its
output or its error; of an error only that there is one counts. Parts of TEMPLATES divided by ||| (or a line ===) are
templates; those of EXPRESSIONS stand between {{ and }}. --random N adds templates put together from parts at random (--seed S), for a longer comparison:
    make_template_cases.py --random 20000 --seed 7 -o /tmp/more.jsonl && WICK_TEMPLATE_CASES=/tmp/more.jsonl ctest -R test_template
"""
import argparse, datetime, functools, json, os, random, re, warnings
import jinja2, jinja2.ext, jinja2.nodes, jinja2.sandbox

VARS = {
    "n": 7, "m": -3, "zero": 0, "f": 2.5, "big": 9007199254740993, "tiny": 1e-7, "t": True, "no": False, "nothing": None,
    "s": "Hello, World", "empty": "", "uni": "Straße é 日本 😀 ΑΣ", "ws": "  pad\t\n ", "quote": "it's \"so\"", "html": "<a href='x'>&</a>",
    "lines": "one\n  two\r\n\nthree\n", "num": "42", "real": "-1.50", "words": "the  quick brown\tfox\n",
    "list": [3, 1, 2], "names": ["bob", "Alice", "carol", "Bob"], "mixed": [1, "a", None, 2.5, True, [1, 2], {"k": "v"}], "none_list": [],
    "d": {"b": 2, "a": 1, "C": 3, "items": "shadow", "x y": [1, {"z": 2}]}, "none_dict": {},
    "users": [{"name": "ann", "age": 30, "tags": ["x", "y"]}, {"name": "Bob", "age": 25, "tags": []}, {"name": "cid", "age": 30},
              {"name": "dee", "age": None, "active": True}],
    "tree": [{"v": 1, "kids": [{"v": 2, "kids": []}, {"v": 3, "kids": [{"v": 4, "kids": []}]}]}, {"v": 5, "kids": []}],
    "messages": [{"role": "system", "content": "Be <|brief|>."}, {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo", "tool_calls": []}],
    "bos_token": "<s>", "eos_token": "</s>",
}

EXPRESSIONS = r'''
1 + 2 * 3|||1 - -1|||7 // 2|||-7 // 2|||7 // -2|||7 % 3|||-7 % 3|||7 % -3|||-7 % -3|||2 ** 10|||2 ** -1|||2 ** 3 ** 2|||-2 ** 2|||7 / 2|||6 / 3|||1 / 0|||1 // 0|||1 % 0|||0 ** -1
7.5 // 2|||-7.5 // 2|||7.5 % 2|||-7.5 % 2|||7.5 % -2|||5.0 % 5|||-0.0|||0.0 * -1|||1e308 * 10|||2.0 ** 0.5|||10.0 ** 400|||4 ** 0.5
1e16|||1e15|||123456789012345680.0|||1e-4|||1e-5|||0.1|||1/3|||2/3|||100.0|||1e22|||1.5e300|||5e-324|||f|||tiny|||big|||0.1 + 0.2|||3.0|||-2.5|||1_000|||0x1F|||0b101|||0o17|||1e3|||1.5e-3|||00|||007
9223372036854775807|||9223372036854775806 + 1|||-9223372036854775807 - 1
"a" + "b"|||"a" ~ 1 ~ none ~ true ~ 1.5|||"a" + 1|||1 + "a"|||"ab" * 3|||3 * "ab"|||"ab" * 0|||"ab" * -1|||[1] + [2]|||[1] * 2|||(1,) + (2,)|||[1] + (2,)|||"a" - "b"|||[1] - [1]|||none + 1|||{} + {}|||true + 1|||true + true|||-true|||+true|||-"a"|||+[]|||- -n|||+-n|||--n
"a" "b" 'c'|||"a\nb\t\\\"\'"|||"\x41\u00e9\U0001F600\101"|||'\q\w'|||"é日"|||'it''s'|||"\07x"|||"\u12"|||"\xZZ"|||"unclosed
1 < 2 < 3|||1 < 3 < 2|||1 == 1.0|||1 == true|||"a" < "b"|||"a" < "B"|||"é" > "z"|||[1, 2] < [1, 3]|||[1] < [1, 2]|||(1, 2) == [1, 2]|||(1,) == (1,)|||{"a": 1} == {"a": 1.0}|||{"a": 1, "b": 2} == {"b": 2, "a": 1}|||1 < "a"|||none < 1|||[1] < (1,)|||{} < {}|||1 != 2|||none == none|||none == false|||0 == false|||"" == none|||1 <= 1 >= 1|||nan == 1|||[none] == [none]|||2 > 1 == true
1 in [1, 2]|||3 not in [1, 2]|||"a" in "abc"|||1 in "abc"|||"b" in d|||"z" in d|||none in mixed|||1 in 5|||[1] in d|||"x" in missing|||missing in [1]|||"" in ""|||(1, 2) in [(1, 2)]|||not 1 in [1]|||not (1 in [1])|||1 in {1: 2}|||true in {1: 2}|||1.0 in {1: 2}|||"k" in mixed[6]|||2 in range(3)|||none in none
1 and 2|||0 and 2|||1 or 2|||0 or ""|||none or [] or "x"|||not 1|||not ""|||not none and true|||not (none and true)|||missing or "def"|||missing and 1|||1 and missing|||not missing|||true and false or true|||"" or missing or 0
"a" if 1 else "b"|||"a" if 0 else "b"|||"a" if 0|||("a" if 0) is defined|||("a" if 0).x|||1 if 0 else 2 if 0 else 3|||"x" if none is none else "y"|||[1 if t else 2, 3]|||"a" ~ ("b" if no else "c")|||1 if t else 1/0|||(1 if t else 2) + 1
missing|||missing.x|||missing["x"]|||missing()|||missing + 1|||1 + missing|||missing ~ "x"|||missing is defined|||missing == missing|||missing == none|||missing == other_missing|||missing < 1|||-missing|||missing | length|||missing | list|||missing | upper|||missing | join(",")|||missing | default("x")|||missing | int|||missing | float|||missing | tojson|||missing | string|||missing | first|||missing | last|||missing | sort|||missing | map("upper") | list|||missing | items | list|||missing[1:]|||missing is sequence|||missing is iterable|||missing is mapping|||missing is string|||missing is callable|||missing is number|||missing is none|||[missing]|||{"a": missing}|||missing in missing|||missing | reverse | list|||missing | sum|||missing | replace("a", "b")|||missing | trim|||missing | dictsort|||missing | abs|||missing | round|||missing * 2|||"%s" % missing|||"%d" % missing|||missing.x is defined|||missing | min|||missing | unique | list|||missing | batch(2) | list|||missing | length == 0
d.b|||d["b"]|||d.zzz|||d.zzz.y|||d["zzz"] is defined|||d.items|||d["items"]|||d.items() | list|||d.keys()|||d.values()|||d.items()|||d.get("a")|||d.get("q")|||d.get("q", 5)|||d.get(key="a")|||d.get()|||d.get([])|||d["x y"][1].z|||d["x y"].0|||d.a.b|||d[1]|||d[none]|||d.get|||list[0]|||list[-1]|||list[9]|||list[9] is defined|||list["a"]|||list[1.0]|||list.0|||list[true]|||s[0]|||s[-1]|||s[99]|||uni[7]|||uni[-3]|||s.upper|||5 .x|||n.x|||none.x|||none.x.y|||none["x"]|||n["a"]|||(1, 2)[1]|||"abc"[1]|||{1: "a"}[1]|||{1: "a"}["1"]|||{true: "a"}[1]|||{"a": {"b": [0, 5]}}.a.b[1]|||[1, 2, 3][1:][0]|||d.copy() == d|||{}.get("a").b|||users[0].name|||users[0].tags[1]|||users[2].tags|||users[2].tags[0]
list[1:]|||list[:1]|||list[::-1]|||list[::2]|||list[-2:]|||list[5:]|||list[1:1]|||list[::0]|||list["a":]|||s[1:4]|||s[::-1]|||s[-5:]|||s[:-5]|||s[::3]|||s[8:2:-2]|||uni[::-1]|||uni[3:9]|||uni[::2]|||uni[-2::-3]|||s[100:]|||s[:100]|||s[-100:2]|||s[-100::-1]|||s[none:3]|||(1, 2, 3)[1:]|||range(10)[2:8:2]|||range(10)[2:8:2] | list|||d[1:]|||d[1:2]|||missing[:1]|||list[1:2, 0]|||list[0:99999999999]|||list[-99999999999:]|||empty[1:]|||empty[::-1]|||s[1.5:]|||[1,2,3,4,5][4:0:-2]|||[1,2,3,4,5][:-6:-1]|||[1,2,3,4,5][-1:-3:-1]
d.pop("a")|||list.append(1)|||list.append|||list.append is defined|||list.sort()|||d.update({})|||list.pop()|||list.copy()|||list.index(1)|||list.index(9)|||list.count(1)|||(1, 2, 1).count(1)|||(1, 2).index(2)|||(1, 2).append|||d.setdefault("a", 1)|||d.clear|||list.clear()|||[].extend([1])|||list.index(2, 1)|||list.index(3, 1)|||list.index(2, 0, 2)|||list.index(2, -1)|||list.__class__|||s.__class__|||s.__len__()|||d.__getitem__("a")|||list["append"](1)|||range(3).index(2)|||range(3).count(2)|||range(1, 9, 2).start
s.upper()|||s.lower()|||uni.upper()|||uni.lower()|||uni.title()|||uni.capitalize()|||uni.swapcase()|||uni.casefold()|||"ΑΣ ΣΑΣ".lower()|||"ﬁne ŉ".upper()|||"they're bill's".title()|||"ǆ".title()|||"İ".lower()|||"aB1".swapcase()|||"hello WORLD".capitalize()|||"straße".capitalize()|||"".upper()|||"ß".title()
ws.strip() ~ "|"|||ws.lstrip() ~ "|"|||ws.rstrip() ~ "|"|||"xxhixx".strip("x")|||"abcba".strip("ab")|||"abc".strip("")|||"abc".strip(none)|||"  a ".strip(" ")|||"éaé".strip("é")|||"a".strip(1)|||"a b".strip(chars="a")|||"\u00a0\u2003x\u3000".strip()|||"www.x.com".lstrip("w.")|||"x.txt".rstrip(".tx")
words.split()|||words.split(none, 1)|||words.rsplit(none, 1)|||"a,b,,c".split(",")|||"a,b,,c".split(",", 1)|||"a,b,,c".rsplit(",", 1)|||"a,b".split(",", maxsplit=1)|||"a,b".split(sep=",")|||"a,b".split("")|||"".split(",")|||"".split()|||"  ".split()|||"a--b--c".split("--")|||"a--b--c".rsplit("--", 1)|||"aaa".split("aa")|||"aaa".rsplit("aa")|||"abc".split("x")|||"a b c d".split(" ", 2)|||"a b c d".split(none, 0)|||"  a b  c ".split(none, 1)|||"  a b  c ".rsplit(none, 1)|||"  a b  c ".rsplit(none, 0)|||"a b".split(" ", -1)|||"a,b".split(1)|||"日,本".split(",")|||lines.split("\n")|||"x</think>y".split("</think>")[-1].lstrip("\n")
lines.splitlines()|||lines.splitlines(true)|||lines.splitlines(keepends=true)|||"a\u2028b\x0bc\x85d".splitlines()|||"\n".splitlines()|||"".splitlines()|||"a\r\n\r\nb".splitlines()|||"a\n\n".splitlines(True)
s.startswith("He")|||s.startswith(("x", "H"))|||s.startswith("")|||s.startswith("lo", 3)|||s.startswith("lo", 3, 4)|||s.endswith("ld")|||s.endswith(("x", "ld"))|||s.endswith("lo", 0, 5)|||s.startswith(["H"])|||s.startswith(1)|||s.startswith()|||s.endswith("", 99)|||s.startswith("", 12)|||s.startswith("", 13)|||uni.endswith("ΑΣ")|||s.startswith(("a", 1))|||s.startswith("World", -5)
s.find("o")|||s.find("o", 5)|||s.rfind("o")|||s.find("zz")|||s.index("W")|||s.index("zz")|||s.rindex("l")|||s.count("l")|||s.count("")|||"aaaa".count("aa")|||uni.find("日")|||uni.rfind("é")|||s.find("l", 3, 4)|||s.find("")|||s.find("", 99)|||s.rfind("")|||s.find("o", -4)|||s.count("o", 5)|||s.rfind("o", 0, 5)|||"".find("")|||"".count("")|||s.find(1)|||s.rindex("zz")|||uni.count("")|||"éé".index("é", 1)
s.replace("l", "L")|||s.replace("l", "L", 1)|||s.replace("", "-")|||"abc".replace("", "-", 2)|||"".replace("", "x")|||s.replace("l", "L", -1)|||s.replace("l", "", 2)|||"aaa".replace("aa", "b")|||s.replace("x", "y")|||s.replace(1, "y")|||"日本".replace("", "-")|||s.replace("l", "L", count=1)|||"abc".replace("b", "xyz")|||"abab".replace("ab", "ba")|||"a".replace("a", "b", 0)
"-".join(["a", "b"])|||"-".join([1])|||"-".join("abc")|||"".join([])|||"-".join(d)|||", ".join(names)|||"-".join(("x",))|||"-".join(5)|||"-".join([missing])
s.center(20) ~ "|"|||s.center(20, "*")|||"ab".center(5, "*")|||"abc".center(6, "*")|||"a".center(4,"-")|||s.ljust(15, ".")|||s.rjust(15, ".")|||s.ljust(3)|||"a".center(3, "xy")|||"42".zfill(5)|||"-42".zfill(5)|||"+4".zfill(4)|||"".zfill(2)|||"a\tb".expandtabs()|||"a\tbc\td".expandtabs(4)|||"\t\n\t".expandtabs(2)|||"日".center(5, "é")|||"a".ljust("5")|||"a\tb".expandtabs(0)
"a=b=c".partition("=")|||"a=b=c".rpartition("=")|||"abc".partition("=")|||"abc".rpartition("=")|||"a".partition("")|||"prefix-x".removeprefix("prefix-")|||"x-suffix".removesuffix("-suffix")|||"abc".removeprefix("z")|||"abc".removesuffix("")|||"a".removeprefix(1)|||"aa".removesuffix("aa")
"abc".isalpha()|||"ab1".isalpha()|||"".isalpha()|||"123".isdigit()|||"12.3".isdigit()|||"²".isdigit()|||"²".isdecimal()|||"½".isnumeric()|||"½".isdigit()|||"٣".isdecimal()|||"ab1".isalnum()|||"a b".isalnum()|||" \t".isspace()|||"".isspace()|||"abc".islower()|||"aBc".islower()|||"a1".islower()|||"1".islower()|||"ABC".isupper()|||"A1".isupper()|||"Abc Def".istitle()|||"Abc def".istitle()|||"ABc".istitle()|||"1a".istitle()|||"abc".isidentifier()|||"1abc".isidentifier()|||"a b".isidentifier()|||"abc\n".isprintable()|||"é ".isprintable()|||"".isprintable()|||"é".isascii()|||"".isascii()|||"日".isalpha()|||"日".isupper()|||"ß".islower()
"{} {}".format(1, "b")|||"{0} {1} {0}".format("a", "b")|||"{a} {b}".format(a=1, b=2)|||"{}".format()|||"{} {0}".format(1)|||"{0.name}".format(users[0])|||"{0[name]}".format(users[0])|||"{0[0]}".format(list)|||"{0[1][z]}".format(d["x y"])|||"{{}}".format()|||"{".format()|||"}".format()|||"{!r}".format("a")|||"{!s}".format(1)|||"{:>5}|".format("a")|||"{:<5}|".format("a")|||"{:^5}|".format("a")|||"{:*^7}".format("ab")|||"{:05d}".format(42)|||"{:+d}".format(42)|||"{: d}".format(42)|||"{:x}".format(255)|||"{:#x}".format(255)|||"{:#010x}".format(255)|||"{:b}".format(5)|||"{:o}".format(8)|||"{:X}".format(-255)|||"{:c}".format(65)|||"{:,}".format(1234567)|||"{:_}".format(1234567)|||"{:,.2f}".format(1234567.891)|||"{:.2f}".format(3.14159)|||"{:.0f}".format(2.5)|||"{:e}".format(12345.678)|||"{:.3g}".format(12345.678)|||"{:g}".format(0.00001)|||"{:%}".format(0.25)|||"{:.1%}".format(0.256)|||"{:10.3f}|".format(3.14159)|||"{:<10.3f}|".format(3.14159)|||"{:+.1e}".format(-0.5)|||"{:.3}".format("abcdef")|||"{:10.2}|".format("abcdef")|||"{:d}".format(1.5)|||"{:d}".format("a")|||"{:s}".format(1)|||"{:5}|".format(42)|||"{:5}|".format(true)|||"{}".format(none)|||"{:5}".format(none)|||"{}".format([1, "a"])|||"{:{w}}|".format("a", w=4)|||"{:>{}}|".format("a", 4)|||"{0:>{1}}|".format("a", 4)|||"{:.3}".format(3.14159)|||"{:.3}".format(1234.5)|||"{:.3}".format(100.0)|||"{:.4}".format(100.0)|||"{:}".format(3.0)|||"{:08.2f}".format(-3.14159)|||"{:08,}".format(1234)|||"{:09,}".format(1234)|||"{:010,.1f}".format(1234.5)|||"{:é^5}".format("x")|||"{:=5}".format(-3)|||"{:0=5}".format(-3)|||"{:<05}".format(3)|||"{:n}".format(5)|||"{:,}".format("a")|||"{:q}".format(1)|||"{a.b}".format(a={"b": 1})|||"{a[b]}".format(a={"b": 1})|||"{a[b}".format(a=1)|||"{!x}".format(1)|||"{:+}".format("a")|||"{:05}".format("ab")|||"{:.2}".format(1)|||"{:#b}".format(5)|||"{:_x}".format(1048575)|||"{:G}".format(1e-10)|||"{:E}".format(1.5)|||"{:F}".format(1.5)|||"{:f}".format(1)|||"{:.2f}".format(7)|||"{0}{1}".format(1)|||"{x}".format(y=1)|||"{:06.1f}".format(-2.25)|||"{:e}".format(0)|||"{:g}".format(1000000.0)|||"{:g}".format(100000.0)|||"{a}".format_map({"a": 1})|||"{0}".format_map({})|||"{:#.3}".format(100.0)|||"{:#}".format(1e16)|||"{:.1}".format(2.5)|||"{:.0}".format(0.0)|||"{:5c}|".format(65)|||"{:+c}".format(65)|||"{:_c}".format(65)|||"{:012,}".format(1234567)|||"{:013,}".format(-1234567)|||"{:020_.3f}".format(1234.5)|||"{:<05}".format(3)|||"{:!>4}".format(1)|||"{!a}".format("é")|||"{}{}".format(*[1, 2])|||"{a}".format(**{"a": 3})
"%s" % 1|||"%s %s" % ("a", 2)|||"%d" % 3.7|||"%d" % "a"|||"%5d|" % 42|||"%-5d|" % 42|||"%05d" % -42|||"%+d" % 42|||"% d" % 42|||"%x" % 255|||"%#x" % 255|||"%X" % 255|||"%o" % 8|||"%#o" % 8|||"%e" % 12345.678|||"%.2f" % 3.14159|||"%8.3f|" % 3.14159|||"%g" % 1e-5|||"%g" % 100000|||"%g" % 1000000|||"%c" % 65|||"%c" % "x"|||"%c" % "xy"|||"%r" % "a'b"|||"%%" % ()|||"%%"|||"100%" % ()|||"%s"|||"%s" % ()|||"%s" % (1, 2)|||"%(a)s-%(b)03d" % {"a": "x", "b": 5}|||"%(a)s" % {"b": 1}|||"%(a)s" % 5|||"%*d" % (5, 42)|||"%.*f" % (2, 3.14159)|||"%-*s|" % (5, "a")|||"%.2s" % "abc"|||"%5s|" % "é"|||"abc" % 1|||"abc" % ()|||"abc" % {}|||"abc" % [1]|||"%s" % [1]|||"%s" % none|||"%i %u" % (1, 2)|||"%q" % 1|||"%.3d" % 5|||"%08.2f" % -1.5|||"%s %%" % 1|||"%5%|" % ()|||"%x" % 1.5|||"%f" % "a"|||"%E" % 0.00012|||"%ld" % 5|||"%d" % true|||"%s" % true|||"%a" % 1 == "1"|||"%-+5d|" % 3|||"%G" % 1e20|||"%#.3g" % 1.0|||"%" % 1|||"%(a" % {}
none|||true|||false|||[none, true, 1.0, "a'b", "a\"b", "a'\"b", "\n\t\\"]|||{"a": [1, (2,)], 3: none}|||()|||(1,)|||(1, 2)|||[]|||{}|||[[]]|||["é", "日", "😀", "\x00\x7f\x9f\u200b\ue000"]|||["\u00a0", "\u2028"]|||{1: 2, 1.0: 3}|||{"a": 1, "a": 2}|||{[]: 1}|||{(1, 2): 3}|||{([],): 3}|||range(3)|||range(1, 9, 2)|||d.keys() | list|||1, 2|||(1, 2,)|||[1, 2,]|||{"a": 1,}|||[,]|||(,)|||{1}|||[1 2]
list | sort|||list | sort(reverse=true)|||names | sort|||names | sort(case_sensitive=true)|||mixed | sort|||users | sort(attribute="name") | map(attribute="name") | list|||users | sort(attribute="age") | list|||users[:3] | sort(attribute="age,name") | map(attribute="name") | list|||users[:3] | sort(attribute="age", reverse=true) | map(attribute="name") | list|||[[2], [1, 5], [1]] | sort|||"hello" | sort|||d | sort|||5 | sort|||[none, none] | sort|||[none, 1] | sort|||names | sort(true)|||[2, 1] | sort(attribute=none)|||[[1, "b"], [0, "a"]] | sort(attribute=1)
d | dictsort|||d | dictsort(true)|||d | dictsort(reverse=true)|||{"a": 2, "b": 1} | dictsort(by="value")|||{"a": 2, "b": 1} | dictsort(false, "value", true)|||d | dictsort(by="x")|||list | dictsort|||d | dictsort(by="value")|||none_dict | dictsort
names | unique | list|||names | unique(true) | list|||[1, 1.0, true, 2] | unique | list|||users | unique(attribute="age") | map(attribute="name") | list|||[[1], [1]] | unique | list|||"aAb" | unique | join
list | min|||list | max|||names | min|||names | max|||[] | min|||[] | max|||names | max(case_sensitive=true)|||users[:3] | max(attribute="age")|||[1, "a"] | max|||"hello" | max|||[none] | min|||[2.5, 2] | min
list | sum|||[] | sum|||[1.5, 2] | sum|||["a"] | sum|||users[:3] | sum(attribute="age")|||list | sum(start=10)|||[[1], [2]] | sum(start=[])|||[true, 2] | sum|||["a"] | sum(start="")|||[none] | sum
users | map(attribute="name") | list|||users | map(attribute="tags") | list|||users | map(attribute="tags", default=[]) | list|||users | map(attribute="tags.0", default="-") | list|||names | map("upper") | list|||names | map("replace", "o", "0") | list|||names | map("nofilter") | list|||names | map | list|||list | map("string") | join("+")|||[] | map("nofilter") | list|||none | map("upper") | list|||5 | map("upper") | list|||users | map(attribute="name", foo=1) | list|||[[1, 2], [3]] | map("length") | list|||[[1, 2], [3]] | map("first") | list|||names | map(missing) | list|||["a", none] | map("default", "x", true) | list|||names | map("truncate", 3, true, "") | list|||[[5]] | map(attribute=0) | list|||names | map("length") | sum|||names | map("upper")|first
list | select("odd") | list|||list | reject("odd") | list|||list | select | list|||[0, 1, "", "a", none] | select | list|||[0, 1, "", none] | reject | list|||list | select("gt", 1) | list|||list | select(">", 1) | list|||list | select("in", [1, 2]) | list|||list | select("nope") | list|||users | selectattr("active") | map(attribute="name") | list|||users | selectattr("active", "defined") | list | length|||users | rejectattr("tags") | map(attribute="name") | list|||users | selectattr("age", "equalto", 30) | map(attribute="name") | list|||users | selectattr("age", "==", 30) | list | length|||users | rejectattr("age", "none") | list | length|||users | selectattr() | list|||messages | selectattr("role", "equalto", "system") | list|||messages | rejectattr("role", "equalto", "system") | map(attribute="role") | join(",")|||none | select | list|||list | select("divisibleby", 3) | list|||list | select("divisibleby", num=3) | list|||users | selectattr("tags.0", "eq", "x") | list | length
users | groupby("age") | list|||users[:3] | groupby("age") | map("last") | map("length") | list|||(users[:3] | groupby("age"))[0].grouper|||(users[:3] | groupby("age"))[1].list | length|||users[:3] | groupby("name") | map("first") | list|||users[:3] | groupby("nope", default="z") | list | length|||["a", "B", "A"] | groupby(none)|||[{"k": "A"}, {"k": "a"}, {"k": "B"}] | groupby("k") | map("first") | list|||[{"k": "A"}, {"k": "a"}] | groupby("k", case_sensitive=true) | length
list | first|||list | last|||[] | first|||[] | last|||s | first|||s | last|||empty | first|||empty | last|||d | first|||d | last|||uni | last|||range(3) | last|||5 | first|||5 | last|||list | map("string") | first|||list | map("string") | last|||d.items() | first|||d.values() | last
list | length|||s | length|||uni | length|||d | count|||5 | length|||none | length|||list | map("string") | length|||range(5) | length|||d.items() | length|||(1, 2) | length|||true | length
s | list|||d | list|||range(3) | list|||5 | list|||none | list|||(1, 2) | list|||d.items() | list|||uni | list
s | reverse|||list | reverse|list|||uni | reverse|||d | reverse | list|||list | map("string") | reverse|||5 | reverse|||(1, 2) | reverse | list|||range(3) | reverse | list|||none | reverse|||d.items() | reverse | list
list | join|||list | join(", ")|||names | join("-", attribute="x")|||users | join(", ", attribute="name")|||users | join(d="/", attribute="age")|||s | join("-")|||[1, none, true, missing] | join(",")|||5 | join|||d | join(",")|||list | join(1)|||[] | join("x")|||[["a"], ["b"]] | join(",", 0)
s | upper|||5 | upper|||none | upper|||s | lower|||s | title|||"hello-world foo_bar (x) [y] <z> {w}" | title|||"mIxEd cAsE" | title|||"it's" | title|||5 | title|||s | capitalize|||"éa ÉA" | capitalize|||uni | title|||ws | trim|||"xxaxx" | trim("x")|||5 | trim|||"  a" | trim(none)|||[1] | trim
s | replace("l", "1")|||s | replace("l", "1", 2)|||s | replace("o", 0)|||123 | replace(2, "x")|||s | replace("", "-")|||s | replace("l")|||[1, 2] | replace(",", ";")|||none | replace("N", "n")|||s | replace(old="l", new="L")|||"a" | replace("a", none)
nothing | default("x")|||missing | default("x")|||missing | default|||nothing | default("x", true)|||empty | d("x", true)|||empty | d("x")|||missing | default(default_value="q")|||missing.x | default("x")|||d.q | default("x")|||0 | default(5, boolean=true)|||missing | default(missing2) is defined|||d.q.r | default("x")
"42" | int|||"42.9" | int|||"abc" | int|||"abc" | int(5)|||"abc" | int(default=5)|||42.9 | int|||-42.9 | int|||none | int|||true | int|||"0x1A" | int(0, 16)|||"1A" | int(base=16)|||"0b11" | int(0, 2)|||"777" | int(0, 8)|||" 12 " | int|||"1_000" | int|||"1__0" | int|||"+5" | int|||"-5" | int|||"1e3" | int|||"inf" | int|||"nan" | int(3)|||[] | int|||"" | int|||"0x1A" | int|||"0x1A" | int(0, 0)|||"012" | int(9, 0)|||"z" | int(0, 36)|||"--5" | int|||"5-" | int|||"٣" | int == 3 or true
"1.5" | float|||"abc" | float|||"abc" | float(2.5)|||"1e3" | float|||5 | float|||none | float|||"inf" | float|||"-inf" | float|||"nan" | float|||" 2 " | float|||"1_0.5" | float|||"0x10" | float|||true | float|||"infinity" | float|||"" | float(1)|||[] | float|||".5" | float|||"5." | float|||"1e400" | float
-5 | abs|||-2.5 | abs|||"a" | abs|||true | abs|||none | abs|||5 | abs|||(-5) | abs + 1
2.5 | round|||3.5 | round|||2.567 | round(2)|||-2.5 | round|||2.1 | round(0, "ceil")|||2.9 | round(method="floor")|||42 | round|||42 | round(-1)|||45 | round(-1)|||55 | round(-1)|||-45 | round(-1)|||1234 | round(-2)|||42.55 | round(1, "floor")|||42.55 | round(1)|||2.675 | round(2)|||"a" | round|||2.5 | round(0, "x")|||1e300 | round(2)|||1.005 | round(2)|||0.5 | round|||1.5 | round | int|||true | round|||1250.0 | round(-2)|||12 | round(1, "ceil")|||-1.5 | round(0, "ceil")|||5 | round(-1)|||15 | round(-1)|||149 | round(-2)|||151 | round(-2)
"a\nb\n\nc" | indent|||"a\nb" | indent(2)|||"a\nb" | indent(2, true)|||"a\n\nb" | indent(2, blank=true)|||"a\nb" | indent("> ")|||"a\nb" | indent(width=1, first=true)|||"" | indent|||"" | indent(first=true)|||"a\n" | indent|||5 | indent|||lines | indent(3)|||"a\r\nb" | indent(1)
"foo bar baz qux" | truncate(9)|||"foo bar baz qux" | truncate(9, true)|||"foo bar baz qux" | truncate(11)|||"foo bar baz qux" | truncate(11, false, "...", 0)|||"foo bar baz" | truncate(2)|||"foo" | truncate|||"foobarbazquxquux" | truncate(6, false, "", 0)|||"日本語日本語日本語" | truncate(4, true, "…", 0)|||"a b c d e f g h" | truncate(length=5, end="", leeway=0)|||"foo bar" | truncate(3, leeway=-1)
"a b  c" | wordcount|||"it's" | wordcount|||uni | wordcount|||"" | wordcount|||5 | wordcount|||"ab" | center(6) ~ "|"|||"ab" | center ~ "|"|||s | string|||5 | string|||none | string|||[1] | string
html | escape|||html | e|||html | safe|||html | escape | escape|||html | forceescape|||(html | escape) | forceescape|||html | safe + "<b>"|||"<b>" + (html | safe)|||("<%s>" | safe) % "<x>"|||("<%s>" | safe) % ("<x>",)|||(html | safe) ~ "<b>"|||[html | safe]|||(html | safe).upper() + "<"|||(html|safe)|upper + "<"|||("<{}>" | safe).format("<x>")|||("<{}>" | safe).format("<x>" | safe)|||("<" | safe) * 2 + "<"|||("a<b" | safe).split("<")[0] + "<"|||("-" | safe).join(["<", "a" | safe])|||("a" | safe).replace("a", "<")|||("a" | safe) | replace("a", "<") + "<"|||5 | escape|||none | e|||5 | safe|||(html | safe) | tojson|||(html|safe) is escaped|||html is escaped|||(html | safe)[0] + "<"|||(html | safe)[1:3] + "<"|||(html | safe) | trim + "<"|||(html | safe) == html|||html | safe | string + "<"|||(html|safe) | list | first + "<"|||(html|safe) + 1|||("x" | safe) + none|||"%s" % ("<" | safe)
d | tojson|||list | tojson|||mixed | tojson|||uni | tojson|||quote | tojson|||html | tojson|||none | tojson|||true | tojson|||1.0 | tojson|||1e16 | tojson|||0.1 | tojson|||tiny | tojson|||"inf" | float | tojson|||"nan" | float | tojson|||(1, 2) | tojson|||[] | tojson|||{} | tojson|||[[], {}] | tojson(indent=2)|||d | tojson(indent=2)|||d | tojson(indent="--")|||d | tojson(indent=0)|||d | tojson(indent=-1)|||d | tojson(sort_keys=true)|||d | tojson(separators=(",", ":"))|||d | tojson(ensure_ascii=true)|||uni | tojson(ensure_ascii=true)|||uni | tojson(true)|||{1: 2, none: 3, true: 4, 1.5: 5} | tojson|||{(1, 2): 3} | tojson|||range(3) | tojson|||d.items() | tojson|||d.keys() | list | tojson|||missing | tojson|||list | map("string") | tojson|||"\x00\x1f\x7f\u2028\\/" | tojson|||"\x7fé" | tojson(ensure_ascii=true)|||{"b": 1, "a": {"d": 1, "c": 2}} | tojson(sort_keys=true, indent=1)|||{"b": 1, 2: 3} | tojson(sort_keys=true)|||d | tojson(indent=none)|||d | tojson(separators=[", "])|||namespace() | tojson|||d | tojson(indent=1, separators=(";", "="))|||[1, [2, [3]]] | tojson(indent=1)|||users | tojson|||d | tojson(foo=1)|||d.get | tojson|||1 | tojson(indent=4)|||"a" | tojson | length|||missing.x | tojson|||[missing] | tojson
d | items | list|||missing | items | list|||list | items | list|||none | items | list|||d | items | length|||list | batch(2) | list|||list | batch(2, "x") | list|||list | slice(2) | list|||list | slice(2, "x") | list|||range(7) | slice(3) | map("list") | list|||range(7) | batch(3, 0) | list|||list | slice(0) | list|||[] | slice(2) | list|||[] | batch(2) | list|||list | batch(0) | list
d | attr("b")|||d | attr("items")|||d | attr("keys") is callable|||s | attr("upper") is callable|||s | attr("nope")|||s | attr("nope") is defined|||"a b&c/d" | urlencode|||{"a": "1 2", "b": "x&y/z"} | urlencode|||[["a", 1], ["b", "é"]] | urlencode|||"日本" | urlencode|||5 | urlencode|||"%s-%s" | format(1, 2)|||"%(a)s" | format(a=1)|||"%s" | format|||"%s" | format(1, a=2)|||"%s %s" | format(*[1, 2])|||"x" | nofilter|||"x" | nofilter if no else "y"|||"x" is notest|||("x" is notest) if no else "y"|||"x" | upper()|||"x" | upper(1)|||"x" | default(1, 2, 3)|||"x" | replace|||"x" | nope.nope
n is odd|||n is even|||"a" is odd|||2.5 is odd|||9 is divisibleby 3|||9 is divisibleby(3)|||9 is divisibleby 0|||n is number|||f is number|||t is number|||"1" is number|||n is integer|||t is integer|||f is float|||n is float|||t is boolean|||n is boolean|||t is true|||1 is true|||no is false|||0 is false|||s is string|||n is string|||d is mapping|||list is mapping|||list is sequence|||d is sequence|||s is sequence|||n is sequence|||d.items() is sequence|||list | map("string") is sequence|||range(3) is sequence|||(1,) is sequence|||list is iterable|||s is iterable|||n is iterable|||d.items() is iterable|||(list | map("string")) is iterable|||none is none|||missing is none|||nothing is defined|||s is lower|||"abc" is lower|||"ABC" is upper|||5 is upper|||"ABC" is not upper|||n is not odd|||s is not string|||n is sameas 7|||none is sameas none|||list is sameas list|||list is sameas [3, 1, 2]|||true is sameas 1|||n is eq 7|||n is ne 7|||n is equalto 7|||n is == 7|||n is gt 5|||n is lt 5|||n is ge 7|||n is le 6|||n is greaterthan 5|||n is lessthan 5|||n is in [7]|||n is in list|||n is not in [7]|||"a" is in "abc"|||range is callable|||s.upper is callable|||n is callable|||"upper" is filter|||"nope" is filter|||"odd" is test|||"nope" is test|||5 is filter|||namespace() is mapping|||namespace() is iterable|||n is odd and n is number|||n is odd or 1/0|||n is string is string|||s is string if t|||n is defined and n|||not n is odd|||-1 is number|||n is divisibleby 7 and true|||1 + 1 is odd|||(1 + 1) is odd|||2 * 3 is even|||n is none or n|||n is "x"|||n is not|||n is defined()|||n is divisibleby|||n is in none|||"x" is undefined
range(3) | list|||range(1, 4) | list|||range(5, 0, -2) | list|||range(0) | list|||range(100000) | length|||range(100001) | length|||range(1000000000)|||range()|||range("a")|||range(1.5)|||range(1, 2, 0)|||range(3)[1]|||range(3)[-1]|||range(9223372036854775807)|||range(-9223372036854775807, 9223372036854775807)|||range(0, 9223372036854775807, 9223372036854775806) | list|||range(3) == range(3)|||range(3) == range(0, 3, 1)|||range(3) == [0, 1, 2]|||range(0) == range(2, 1)|||dict(a=1, b=2)|||dict({"a": 1}, b=2)|||dict([("a", 1), ["b", 2]])|||dict([1])|||dict(1)|||dict("ab")|||dict(["ab"])|||dict(a=1, **{"b": 2})|||dict()|||dict({}, {})|||namespace(a=1).a|||namespace({"a": 2}).a|||namespace().a|||namespace(a=1).a.b|||namespace(a=1)["a"]|||namespace(items=1).items|||cycler("a", "b").next()|||cycler()|||cycler("a").current|||joiner(",")()|||raise_exception("no")|||raise_exception()|||raise_exception(1)|||strftime_now("%Y-%m-%d %H:%M:%S")|||strftime_now("%d %B %Y, %A %b %a %j %p %I %y %%")|||strftime_now("")|||strftime_now()|||strftime_now(5)|||lipsum is defined or true|||s()|||5()|||none()|||d.b()|||"x".upper()()|||range(1)()|||range(*[1, 3]) | list|||range(**{"a": 1})|||range(*5)|||dict(**5)|||dict(**{1: 2})|||dict(a=1, a=2)
(1, 2) | first|||[(1, 2), (3, 4)] | map("first") | list|||{"a": 1}.items() | list | first|||d.keys() | sort|||d.values() | map("string") | list|||(d.items() | list)[0][1]|||"a" in d.keys()|||("a", 1) in d.items()|||d.keys() == d.keys()|||d.values() == d.values()|||users | length > 3 and "yes"|||users | map(attribute="name") | map("upper") | join("|")|||users | selectattr("age", "gt", 26) | list|||users[:3] | selectattr("age", "gt", 26) | map(attribute="name") | join|||(users | first).name|||users | first.name|||users | last | attr("name")|||s | upper | lower | title | length|||s[0:5] | upper ~ "!"|||-n | abs|||-n.x|||(-n) | abs|||n | string + "x"|||"a" ~ n + 1|||"a" ~ (n + 1)|||1 + 2 ~ 3|||2 * 3 ~ 4|||"a" * 2 ~ "b"|||n > 5 and "big" or "small"|||[] or {} or 0 or "end"|||not n > 5|||n if n > 5 else 0|||("a", "b")[n > 5]|||n ~ "" == "7"|||n in [7] == true|||{"a": n}["a"]|||[n, n + 1][1]|||{n: 1}|||{s: s}|||d.a + d.b * d.C|||(d.a + d.b) * d.C|||d["a"] ~ d['b']|||'"' ~ s ~ '"'|||"{{ n }}"|||"{% x %}"|||"}}"|||'%}'|||{"a": {"b": {}}}|||((((1))))|||[[[[1]]]]
1.5.x|||1.x|||n..x|||n.|||.n|||n[|||n]|||(n|||n)|||n(|||"a" "b" ~ "c"|||n $ 2|||n & 2|||n ? 2|||n ! 2|||n; 2|||a = 1|||n == |||== n|||n and|||or n|||not|||n if|||n if t else|||n |||||n ||| upper|||n is|||n in|||* n|||** n|||f(a=1, 2)|||f(**a, b)|||f(*a, *b)|||f(*a, b)|||lambda: 1|||[x for x in y]|||n not 2|||n is not not odd|||true.x|||none.none|||True|||None|||TRUE|||Null|||null|||{a: 1}|||n..|||1 if|||{"a" 1}|||{"a":}|||[1,,2]|||f(,)|||f(a,,b)|||@n|||n\|||"a"b|||n -|||~n|||n ~
'''

TEMPLATES = r'''
plain text|||{{ 'a\
b' }}|||{{ 'a
b' }}|||{{ '\
' }}|||a{{ 1 }}b|||{{ n }}{{ s }}|||{# comment #}x|||a{# c #}b{#- c -#} c|||{{- n -}}|||  {{- n -}}  x|||a {{- n }} b {{ n -}} c|||a  {%- if t %} x {% endif -%}  b|||{% if t %}
yes
{% endif %}
end|||  {% if t %}
  yes
  {% endif %}
end|||x {% if t %} y {% endif %} z|||{%+ if t %}  a{% endif +%}
b|||   {%+ if t %}a{% endif %}|||a
   {% if t -%}   b
   {%- endif %}
c|||{% set x = 1 %}
{{ x }}
|||{{ n }}
|||{{ n }}

|||
{{ n }}|||a{% raw %}{{ n }}{% if %}{% endraw %}b|||a  {%- raw -%}  {{ x }}  {%- endraw -%}  b|||{% raw %}
x
{% endraw %}
y|||  {% raw %}  x  {% endraw %}  y|||{% raw %}never ended|||{# never ended|||{{ n|||{% if t|||{% if t %}|||{% endif %}|||{% for x in list %}|||{% nope %}|||{% %}|||{{ }}|||{%|||{{|||}}|||%}|||#}|||{|||{ { n } }|||{{{ 1: 2 }}}|||{{ {1: {2: 3}} }}|||{{ {1: {2: 3}}[1] }}|||{#- c #}
x|||{# c -#}

  x|||{# c #}
x|||  {# c #}
x|||a {# c +#}
x|||{#+ c #}x|||   {#+ c #}x|||{##}|||{#-#}x|||{# {{ n }} {% if %} #}|||a{{ '#}' }}|||{{ "}}" }}|||{% if "%}" %}x{% endif %}|||line1
{% if t %}a{% endif %}

line2|||	{% if t %}tab{% endif %}|||a
	 {{ n }}
b|||a
  {%- set x = 1 %}
b|||{%- set x = 1 -%}

  {{ x }}|||{{ n }} {{- s }}|||{%if t%}a{%endif%}|||{%-if t-%}a{%-endif-%}|||{% if t: %}a{% endif %}|||{% for x in list: %}{{ x }}{% endfor %}
===
{% if t %}a{% elif no %}b{% else %}c{% endif %}|||{% if no %}a{% elif t %}b{% else %}c{% endif %}|||{% if no %}a{% elif no %}b{% else %}c{% endif %}|||{% if no %}a{% elif no %}b{% endif %}|||{% if no %}a{% else %}b{% elif t %}c{% endif %}|||{% if %}a{% endif %}|||{% if missing %}a{% else %}b{% endif %}|||{% if none_list %}a{% else %}b{% endif %}|||{% if 1, %}a{% endif %}|||{% if t if t else no %}a{% endif %}|||{% if (t if t else no) %}a{% endif %}|||{% if t %}{% set x = 1 %}{% endif %}{{ x }}|||{% if no %}{% set x = 1 %}{% endif %}{{ x is defined }}|||{% if missing.x %}a{% endif %}|||{% if no %}{{ 1 | nofilter }}{% endif %}x|||{% if t %}{{ 1 | nofilter }}{% endif %}x|||{% if no %}{% for i in list %}{{ i | nofilter }}{% endfor %}{% endif %}x|||{% for i in [] %}{{ i | nofilter }}{% endfor %}x|||{% if no and (1 is notest) %}{% endif %}x|||{% if no %}{% macro f() %}{{ 1 | nofilter }}{% endmacro %}{% endif %}x|||{% if no %}{% set x | nofilter %}{% endset %}{% endif %}|||{{ (1 | nofilter) if no else 2 }}|||{{ 1 if no else (2 | nofilter) if no else 3 }}|||{{ 3 if t else 1 | nofilter }}|||{{ [3 if t else 1 | nofilter] | nofilter }}
===
{% for x in list %}{{ x }},{% endfor %}|||{% for x in list %}{{ loop.index }}/{{ loop.index0 }}/{{ loop.revindex }}/{{ loop.revindex0 }}/{{ loop.first }}/{{ loop.last }}/{{ loop.length }}/{{ loop.depth }}/{{ loop.depth0 }} {% endfor %}|||{% for x in list %}[{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }}]{% endfor %}|||{% for x in list %}{{ loop.cycle("a", "b") }}{% endfor %}|||{% for x in [1, 1, 2, 2, 1] %}{{ loop.changed(x) }} {% endfor %}|||{% for x in list %}{{ loop.cycle() }}{% endfor %}|||{% for x in list %}{{ loop.nope }}{% endfor %}|||{% for x in list %}{{ loop.nope.x }}{% endfor %}|||{% for x in list %}{{ loop["index"] }}{% endfor %}|||{% for x in list %}{{ loop.previtem is defined }} {{ loop.nextitem is defined }} {% endfor %}|||{% for x in [] %}a{% else %}empty{% endfor %}|||{% for x in list %}a{% else %}empty{% endfor %}|||{% for x in missing %}a{% else %}empty{% endfor %}|||{% for x in none %}a{% endfor %}|||{% for x in 5 %}a{% endfor %}|||{% for c in "añb" %}{{ c }}.{% endfor %}|||{% for k in d %}{{ k }} {% endfor %}|||{% for k, v in d.items() %}{{ k }}={{ v }} {% endfor %}|||{% for k, v in d | dictsort %}{{ k }}={{ v }} {% endfor %}|||{% for k, v in d %}x{% endfor %}|||{% for k, v in [[1, 2], [3]] %}{{ k }}{% endfor %}|||{% for a, b in ["xy", "zw"] %}{{ b }}{{ a }}{% endfor %}|||{% for (a, b), c in [[[1, 2], 3]] %}{{ a }}{{ b }}{{ c }}{% endfor %}|||{% for a, in [[1]] %}{{ a }}{% endfor %}|||{% for x in list if x > 1 %}{{ x }}:{{ loop.index }}/{{ loop.length }}/{{ loop.last }} {% endfor %}|||{% for x in list if x > 9 %}a{% else %}none{% endfor %}|||{% for x in list if loop.index > 1 %}{{ x }}{% endfor %}|||{% for x in list recursive %}{{ x }}{% endfor %}|||{% for x in tree recursive %}{{ x.v }}{% if x.kids %}({{ loop(x.kids) }}){% endif %}{% endfor %}|||{% for x in tree recursive %}{{ loop.depth }}{{ loop.index }}{{ loop(x.kids) }}{% else %}-{% endfor %}|||{% for x in tree %}{{ loop(x.kids) }}{% endfor %}|||{% for x in list %}{% for y in [1, 2] %}{{ loop.index }}{{ x }}{{ y }} {% endfor %}{{ loop.index }};{% endfor %}|||{% for x in list %}{% set outer = loop %}{% for y in [1, 2] %}{{ outer.index }}.{{ loop.index }} {% endfor %}{% endfor %}|||{% for x in list %}{% for y in range(loop.index) %}{{ y }}{% endfor %};{% endfor %}|||{% for x in list %}{% if x == 1 %}{% break %}{% endif %}{{ x }}{% endfor %}|||{% for x in list %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}|||{% for x in list %}{% break %}{% else %}else{% endfor %}|||{% for x in list %}{% continue %}{% else %}else{% endfor %}|||{% for x in list %}{% if loop.last %}{% break %}{% endif %}{% else %}else{% endfor %}|||{% break %}|||{% continue %}|||{% for x in list %}{% for y in list %}{% break %}{% endfor %}{{ x }}{% endfor %}|||{% for x in list %}{% macro f() %}{% break %}{% endmacro %}{% endfor %}|||{% for x in list %}{% for y in [] %}{% else %}{% break %}{% endfor %}{{ x }}{% endfor %}|||{% for x in list %}{% set q %}a{% break %}{% endset %}{% endfor %}done|||{% for x in list %}{% filter upper %}a{% continue %}{% endfilter %}b{% endfor %}|||{% for x in range(3) %}{{ x }}{% endfor %}|||{% for x in list | reverse %}{{ x }}{% endfor %}|||{% for x in list | map("string") %}{{ x }}{{ loop.length }}{{ loop.last }}{% endfor %}|||{% set g = list | map("string") %}{% for x in g %}{{ x }}{% endfor %}|{% for x in g %}{{ x }}{% endfor %}|||{% set g = list | select %}{{ g | list }}{{ g | list }}{{ g | list | length }}|||{% set g = list | map("string") %}{{ g | first }}{{ g | first }}{{ g | list }}|||{% for loop in list %}{% endfor %}|||{% for x in list %}{% set loop = 1 %}{% endfor %}|||{% set loop = 5 %}{{ loop }}|||{% for x in list %}{{ loop }}{% endfor %}|||{% for x in (1, 2) %}{{ x }}{% endfor %}|||{% for x in 1, 2 %}{{ x }}{% endfor %}|||{% for x in list if x > 1 else list %}{% endfor %}|||{% for x in (list if t else []) %}{{ x }}{% endfor %}|||{% for x in [3] + list %}{{ x }}{% endfor %}|||{% for x.y in list %}{% endfor %}|||{% for 1 in list %}{% endfor %}|||{% for true in list %}{% endfor %}|||{% for x of list %}{% endfor %}|||{% for x in list %}{{ loop.index }}{% endfor %}{{ loop is defined }}|||{% for x in list %}{% endfor %}{{ x is defined }}|||{% for x in list %}{% set n = x %}{{ n }}{% endfor %}{{ n }}|||{% set x = 9 %}{% for x in list %}{{ x }}{% endfor %}{{ x }}|||{% set y = 0 %}{% for x in list %}{{ y }}{% set y = y + x %}{{ y }} {% endfor %}{{ y }}|||{% for x in list %}{% if loop.first %}{% set z = x %}{% endif %}{{ z }}{% endfor %}|||{% for x in users if x.tags %}{{ x.name }}{% endfor %}|||{% for m in messages %}{{ loop.index0 }}{{ m.role }}{{ m["content"] }}{% if not loop.last %}|{% endif %}{% endfor %}|||{% for i in range(3) %}{% for j in range(3) if j != i %}{{ i }}{{ j }} {% endfor %}{% endfor %}|||{% set ns = namespace(stop=false) %}{% for x in list if not ns.stop %}{{ x }}{% set ns.stop = true %}{% endfor %}|||{% for x in d.values() %}{{ loop.length }}{% endfor %}|||{% for x in list %}{{ loop.index }}{% for y in [] %}{% else %}{{ loop.index }}{% endfor %}{% endfor %}
===
{% set x = 1 %}{{ x }}|||{% set x = 1, 2 %}{{ x }}|||{% set a, b = 1, 2 %}{{ a }}{{ b }}|||{% set a, b = [1] %}|||{% set (a, b) = "xy" %}{{ b }}{{ a }}|||{% set x %}a{{ n }}b{% endset %}{{ x }}|||{% set x | upper %}abc{{ s }}{% endset %}{{ x }}|||{% set x | replace("a", "b") | upper %}abc{% endset %}{{ x }}|||{% set x %}{% set y = 1 %}{{ y }}{% endset %}{{ x }}{{ y is defined }}|||{% set ns = namespace(a=1) %}{% set ns.a = 2 %}{% set ns.b = 3 %}{{ ns.a }}{{ ns.b }}|||{% set d.a = 1 %}|||{% set missing.a = 1 %}|||{% set ns = namespace() %}{% for x in list %}{% set ns.last = x %}{% endfor %}{{ ns.last }}|||{% set ns = namespace(l=[]) %}{% for x in list %}{% set ns.l = ns.l + [x * 2] %}{% endfor %}{{ ns.l }}|||{% set ns = namespace(a=1) %}{% set ns.a, ns.b = 5, 6 %}{{ ns.a }}{{ ns.b }}|||{% set ns = namespace() %}{% set ns.x %}block{% endset %}{{ ns.x }}|||{% set ns = namespace(a=1) %}{{ ns }}|||{% set ns.x = 1 %}|||{% set 1 = 2 %}|||{% set true = 2 %}|||{% set none = 1 %}|||{% set x = %}|||{% set x 1 %}|||{% set = 1 %}|||{% set x.y.z = 1 %}|||{% set x[0] = 1 %}|||{% set x = 1 if t %}{{ x }}|||{% set x = 1 if no %}{{ x is defined }}|||{% set x = x is defined %}{{ x }}|||{% set n = n + 1 %}{{ n }}|||{% set x = missing %}{{ x is defined }}{{ x }}|||{% set x = missing %}{{ x.y }}|||{% set x, y = y, x %}{{ x is defined }}|||{% set f = s.upper %}{{ f() }}|||{% set f = range %}{{ f(2) | list }}|||{% set dict = {"a": 1} %}{{ dict.a }}|||{% set range = 5 %}{{ range }}|||{% set x = "a" %}{% set x = x ~ "b" %}{{ x }}|||{% set x %}
  indented
{% endset %}[{{ x }}]|||{% set x = [1, 2] %}{% set y = x %}{{ y is sameas x }}|||{% set ns = namespace() %}{% set ns.self = ns %}{{ ns.self.self.self is sameas ns }}|||{% set ns = namespace() %}{% set ns.self = ns %}{{ ns }}|||{% set ns = namespace() %}{% set ns.l = [ns] %}{{ ns.l | tojson }}|||{% set ns = namespace() %}{% set ns.l = [ns] %}{{ ns == ns.l[0] }}|||{% set a = namespace() %}{% set b = namespace() %}{% set a.x = [b] %}{% set b.x = [a] %}{{ a.x == b.x }}|||{% set ns = namespace(x=[]) %}{% for i in range(50) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}
===
{% macro f() %}x{% endmacro %}{{ f() }}|||{% macro f(a, b=2) %}{{ a }}{{ b }}{% endmacro %}{{ f(1) }}{{ f(1, 3) }}{{ f(b=4, a=5) }}{{ f() }}|||{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, 2) }}|||{% macro f(a) %}{{ a }}{% endmacro %}{{ f(b=1) }}|||{% macro f(a) %}{{ a is defined }}{% endmacro %}{{ f() }}{{ f(none) }}{{ f(missing) }}|||{% macro f(a=missing) %}{{ a is defined }}{% endmacro %}{{ f() }}|||{% macro f(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ f(1) }}|||{% macro f(a=b, b=1) %}{{ a }}{{ b }}{% endmacro %}{% set b = 9 %}{{ f() }}|||{% macro f() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1, 2, x=3) }}|||{% macro f(a) %}{{ a }}{{ varargs }}{% endmacro %}{{ f(1, 2, 3) }}|||{% macro f(a) %}{{ kwargs }}{% endmacro %}{{ f(a=1, b=2) }}|||{% macro f(a, a) %}{% endmacro %}|||{% macro f(a=1, b) %}{% endmacro %}|||{% macro f %}{% endmacro %}|||{% macro f(1) %}{% endmacro %}|||{% macro f() %}{{ n }}{% endmacro %}{{ f() }}|||{% macro f() %}{{ later }}{% endmacro %}{% set later = 5 %}{{ f() }}|||{% set v = 1 %}{% macro f() %}{{ v }}{% endmacro %}{% set v = 2 %}{{ f() }}|||{% macro f() %}{% set v = 1 %}{{ v }}{% endmacro %}{{ f() }}{{ v is defined }}|||{% macro f(x) %}{% if x > 0 %}{{ x }}{{ f(x - 1) }}{% endif %}{% endmacro %}{{ f(3) }}|||{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}|||{% macro f() %}{{ loop is defined }}{% endmacro %}{% for x in list %}{{ f() }}{% endfor %}|||{% for x in list %}{% macro f() %}{{ x }}{{ loop.index }}{% endmacro %}{{ f() }}{% endfor %}|||{% for x in list %}{% macro f() %}{% endmacro %}{% endfor %}{{ f is defined }}|||{% if t %}{% macro f() %}a{% endmacro %}{% endif %}{{ f() }}|||{% macro f(x) %}{{ caller() }}{{ x }}{% endmacro %}{% call f(1) %}body{% endcall %}|||{% macro f() %}{{ caller(1, b=2) }}{% endmacro %}{% call(a, b) f() %}{{ a }}{{ b }}{% endcall %}|||{% macro f() %}x{% endmacro %}{% call f() %}body{% endcall %}|||{% macro f() %}{{ caller() }}{% endmacro %}{{ f() }}|||{% macro f() %}{{ caller is defined }}{% endmacro %}{{ f() }}{% call f() %}{% endcall %}|||{% macro f(caller=none) %}{{ caller is none }}{% endmacro %}{{ f() }}|||{% macro f(caller) %}{{ caller() }}{% endmacro %}|||{% macro f() %}{{ caller() }}{{ caller() }}{% endmacro %}{% call f() %}{{ n }}{% set q = 1 %}{% endcall %}{{ q is defined }}|||{% call f %}{% endcall %}|||{% call 1 %}{% endcall %}|||{% macro f(x) %}{{ x }}{% endmacro %}{{ f("a") ~ f("b") }}|||{% macro f() %}{{ varargs | length }}{% endmacro %}{{ f(*list) }}|||{% macro f(a, b) %}{{ a }}{{ b }}{% endmacro %}{{ f(*[1, 2]) }}{{ f(**{"a": 3, "b": 4}) }}{{ f(1, a=2) }}|||{% macro f(a, b) %}{{ a }}{{ b }}{% endmacro %}{{ f(b=1, **{"b": 2}) }}|||{{ f() }}{% macro f() %}{% endmacro %}|||{% macro f(a) %}{% endmacro %}{{ f.name }}{{ f.arguments }}{{ f.catch_kwargs }}{{ f.caller }}|||{% macro f() %}{% endmacro %}{{ f }}|||{% macro f() %}  x  {% endmacro %}[{{ f() | trim }}]|||{% macro f() -%}  x  {%- endmacro %}[{{ f() }}]|||{% macro f(x) %}{% macro g() %}{{ x }}{% endmacro %}{{ g() }}{% endmacro %}{{ f(5) }}|||{% macro f() %}{% macro g() %}in{% endmacro %}{% endmacro %}{{ f() }}{{ g is defined }}|||{% set ns = namespace() %}{% macro f() %}hi{% endmacro %}{% set ns.f = f %}{{ ns.f() }}|||{% macro f() %}{{ caller() }}{% endmacro %}{% macro g() %}{% call f() %}{{ caller() }}{% endcall %}{% endmacro %}{% call g() %}x{% endcall %}|||{% macro f(n) %}{{ n }}{% endmacro %}{{ f(n=2) }}{{ n }}|||{% macro true() %}{% endmacro %}|||{% macro f() %}{{ kwargs.a }}{{ varargs[0] }}{% endmacro %}{{ f(1, a=2) }}|||{% macro f(kwargs) %}{{ kwargs }}{% endmacro %}{{ f(1) }}|||{% macro f(varargs=3) %}{{ varargs }}{% endmacro %}{{ f() }}|||{% macro f() %}a{% endmacro f %}
===
{% filter upper %}abc{{ s }}{% endfilter %}|||{% filter replace("a", "b") | upper %}abc{% endfilter %}|||{% filter nope %}{% endfilter %}|||{% filter upper %}{% set q = 1 %}{{ q }}{% endfilter %}{{ q is defined }}|||{% filter length %}abc{% endfilter %}|||{% filter upper %}{% filter lower %}aB{% endfilter %}{% endfilter %}|||{% with %}{% set q = 1 %}{{ q }}{% endwith %}{{ q is defined }}|||{% with a=1, b=2 %}{{ a }}{{ b }}{% endwith %}{{ a is defined }}|||{% with a=n, n=1 %}{{ a }}{{ n }}{% endwith %}{{ n }}|||{% with a=1, b=a %}{{ b }}{% endwith %}|||{% with a, b = (1, 2) %}{{ a }}{{ b }}{% endwith %}|||{% with a %}{% endwith %}|||{% print n %}|||{% print n, s %}|||{% print %}|||{% do n %}|||{% block a %}x{{ n }}{% endblock %}|||{% block a %}x{% endblock a %}y|||{% generation %}a{{ n }}{% endgeneration %}b|||{% generation %}{% set q = 1 %}{{ q }}{% endgeneration %}{{ q is defined }}|||{% for m in messages %}{% if m.role == "assistant" %}{% generation %}{{ m.content }}{{ eos_token }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}{% endfor %}|||{% generation %}|||{% for x in list %}{% generation %}{% break %}{% endgeneration %}{% endfor %}|||{% include "x" %}|||{% import "x" as y %}|||{% from "x" import y %}|||{% extends "x" %}|||{% raw %}{% endraw %}|||{% set c = cycler("a", "b") %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}{{ c.reset() }}{{ c.current }}|||{% set j = joiner("; ") %}{% for x in list %}{{ j() }}{{ x }}{% endfor %}|||{% set j = joiner() %}{{ j() }}{{ j() }}|||{{ raise_exception("Conversation roles must alternate") }}|||{% if n != 7 %}{{ raise_exception("x") }}{% endif %}ok|||{% for m in messages %}{{ "<|im_start|>" + m["role"] + "\n" + m["content"] + "<|im_end|>" + "\n" }}{% endfor %}|||{% set sys = messages[0].content if messages[0].role == "system" else "" %}{{ sys }}|||{{ messages[1:] | length }}{{ messages[-1].role }}|||{% set x = (messages | selectattr("role", "equalto", "user") | list)[-1] %}{{ x.content }}|||{% set ns = namespace(found=false) %}{% for m in messages[::-1] %}{% if not ns.found and m.role == "user" %}{{ m.content }}{% set ns.found = true %}{% endif %}{% endfor %}|||{% if messages[2].tool_calls is defined and messages[2].tool_calls %}a{% else %}b{% endif %}|||{{ bos_token }}{{ eos_token }}|||{%- for m in messages -%}
    {{- m.role -}}
    {%- if not loop.last -%} , {%- endif -%}
{%- endfor -%}|||{{ {"type": "function", "n": [1, {"a": none}]} | tojson(indent=4) }}|||{% set c = "x<think>y</think>z" %}{{ c.split("</think>")[0].rstrip("\n").split("<think>")[-1].lstrip("\n") }}|||{{ ("x" ~ n) in ["x7"] }}|||{{ "a" if messages | length > 2 and messages[0]["role"] == "system" else "b" }}|||{{- "a" }}{{ "b" -}}|||{% set x = {"a": 1} %}{% for k in x %}{{ k }}{% endfor %}|||{{ "{{" }}{{ "{%" }}|||{%- macro render(x, d=0) -%}{%- if x is mapping -%}{%- for k, v in x | items -%}{{ k }}:{{ render(v, d + 1) }};{%- endfor -%}{%- elif x is sequence and x is not string -%}[{%- for v in x -%}{{ render(v, d + 1) }},{%- endfor -%}]{%- else -%}{{ x }}@{{ d }}{%- endif -%}{%- endmacro -%}{{ render(d) }}
'''


class generator:
    """What map, select, ... give, printed without its address."""
    def __init__(self, it): self.it = it
    def __iter__(self): return self
    def __next__(self): return next(self.it)
    def __repr__(self): return "<generator object>"


def readable(filter_):
    @functools.wraps(filter_)
    def f(*args, **kwargs):
        out = filter_(*args, **kwargs)
        return generator(out) if hasattr(out, "__next__") else out
    return f


def build():
    class Generation(jinja2.ext.Extension):
        tags = {"generation"}

        def parse(self, parser):
            line = next(parser.stream).lineno
            body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
            return jinja2.nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

        def _body(self, caller):
            return caller()

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    env = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
    for name in "map select reject selectattr rejectattr items unique batch slice reverse".split():
        env.filters[name] = readable(env.filters[name])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda f: datetime.datetime(2026, 1, 2, 3, 4, 5).strftime(f)
    return env


def case(env, template):
    try:
        out = env.from_string(template).render(**json.loads(json.dumps(VARS)))
        out.encode()
    except Exception as e:  # whatever jinja2 raises is the expected outcome
        return {"template": template, "error": f"{type(e).__name__}: {e}"[:160]}
    return None if re.search(r" of .* object|<function|<bound", out) else {"template": template, "output": out}  # they hold addresses


class Random:
    """Templates from parts, mostly well-formed."""
    atoms = ["n", "m", "zero", "f", "t", "no", "nothing", "s", "empty", "uni", "ws", "quote", "html", "lines", "num", "real", "words", "list", "names", "mixed", "none_list", "d",
             "none_dict", "users", "tree", "missing", "x", "y", "1", "0", "2.5", "-1", "'a'", "'é'", "','", "[]", "{}", "()", "none", "true", "users[0]", "d.b", "range(3)", "tiny"]
    keys = ["n", "s", "'a'", "1", "none", "missing", "f"]
    filters = ["upper", "lower", "title", "trim", "length", "list", "first", "last", "reverse", "join", "join(',')", "join('-', attribute='name')", "string", "int", "float", "abs",
               "round", "round(1)", "tojson", "tojson(indent=1)", "tojson(sort_keys=true)", "default('q')", "default('q', true)", "sort", "sort(reverse=true)", "unique", "sum", "min", "max",
               "map('upper')", "map('string')", "map('length')", "map(attribute='name')", "select", "reject", "select('string')", "select('number')", "selectattr('name')",
               "rejectattr('tags', 'defined')", "items", "dictsort", "replace('a', 'b')", "replace('', '-')", "capitalize", "center(9)", "indent", "indent(2, true)", "truncate(6, true, '..', 0)",
               "wordcount", "batch(2)", "slice(2)", "escape", "safe", "forceescape", "urlencode", "groupby('age')", "groupby('name')", "attr('name')", "format(1)", "count", "d"]
    methods = ["upper()", "lower()", "strip()", "strip('ah ')", "lstrip()", "rstrip()", "split()", "split(',')", "split('o', 1)", "rsplit(' ', 1)", "rsplit()", "splitlines()", "splitlines(true)",
               "title()", "capitalize()", "swapcase()", "casefold()", "replace('l', 'LL')", "replace('', '.', 2)", "find('o')", "rfind('o')", "count('l')", "startswith('H')", "endswith(('d', ' '))", "isdigit()",
               "isalpha()", "islower()", "isspace()", "istitle()", "isalnum()", "join(names)", "join(['a', 'b'])", "zfill(6)", "center(9, '*')", "ljust(4)", "partition('o')", "rpartition('l')", "removeprefix('He')",
               "format(1, a=2)", "get('a')", "get('q', 1)", "items()", "keys()", "values()", "copy()", "count(1)", "index(1)", "name", "tags", "a", "b", "items", "0", "1", "append(1)", "pop", "expandtabs(3)",
               "x", "start", "isprintable()", "isnumeric()"]
    tests = ["defined", "undefined", "none", "string", "number", "mapping", "sequence", "iterable", "integer", "float", "boolean", "true", "false", "odd", "even", "divisibleby 2", "in [1, 'a']",
             "lower", "upper", "eq 1", "ne 'a'", "gt 1", "lt 2.5", "sameas none", "callable", "escaped", "ge 0", "in 'abc'", "in d"]
    binary = ["+", "-", "*", "/", "//", "%", "~", "==", "!=", "<", ">", "<=", ">=", "in", "not in", "and", "or"]

    def __init__(self, seed, env):
        self.r, self.env = random.Random(seed), env

    def expr(self, depth):
        """Mostly one that does not fail by itself."""
        for _ in range(5):
            e = self.any_expr(depth)
            if depth < 2 or "error" not in (case(self.env, "{{ " + e + " }}") or {}): break
        return e

    def any_expr(self, depth):
        r, e = self.r, self.any_expr
        k = r.random()
        if depth <= 0 or k < 0.16:
            return r.choice(self.atoms)
        if k < 0.36: return f"{e(depth - 1)} | {r.choice(self.filters)}"
        if k < 0.54: return f"({e(depth - 1)}).{r.choice(self.methods)}"
        if k < 0.62: return f"({e(depth - 1)}) is {r.choice(['', '', 'not '])}{r.choice(self.tests)}"
        if k < 0.76: return f"({e(depth - 1)}) {r.choice(self.binary)} ({e(depth - 1)})"
        if k < 0.80: return f"({e(depth - 1)})[{e(depth - 2)}]"
        if k < 0.84: return f"({r.choice(['s', 'list', 'uni', 'names', 'd', 'n', 'missing', 'words'])})[{r.choice(['', '1', '-2', '0'])}:{r.choice(['', '2', '-1', '9'])}{r.choice(['', ':-1', ':2', ':-2'])}]"
        if k < 0.88: return f"[{e(depth - 1)}, {e(depth - 2)}]"
        if k < 0.90: return f"({e(depth - 1)},)"
        if k < 0.93: return f"{{'k': {e(depth - 1)}, {r.choice(self.keys)}: 1}}"
        if k < 0.96: return f"({e(depth - 1)} if {e(depth - 2)} else {e(depth - 2)})"
        if k < 0.98: return f"not {e(depth - 1)}"
        form = r.choice(["%s", "%r", "%5s|", "%d", "%.2f", "%-4s|", "%x", "%g"])
        return f"'{form}' % ({e(depth - 1)})"

    def template(self, depth):
        r = self.r
        w = lambda: r.choice(["", "", "", "-", "+"])
        gap = lambda: r.choice(["", "", " ", "\n", "\n  ", "t", " x\n"])
        k = r.random()
        if depth <= 0 or k < 0.4:
            return gap() + "{{" + r.choice(["", "-"]) + " " + self.expr(3) + " " + r.choice(["", "-"]) + "}}" + gap()
        sub = lambda: self.template(depth - 1)
        if k < 0.5: return f"{gap()}{{%{w()} if {self.expr(2)} {w()}%}}{gap()}{sub()}{{%{w()} else {w()}%}}{sub()}{{%{w()} endif {w()}%}}{gap()}"
        if k < 0.65: return f"{gap()}{{%{w()} for {r.choice(['x', 'x', 'x, y'])} in {self.expr(2)} {w()}%}}{gap()}{sub()}{{{{ loop.{r.choice(['index', 'last', 'revindex', 'previtem', 'first', 'length'])} }}}}{{%{w()} endfor {w()}%}}{gap()}"
        if k < 0.75: return f"{gap()}{{%{w()} set {r.choice('xy')} = {self.expr(2)} {w()}%}}{gap()}{sub()}"
        if k < 0.8: return f"{{%{w()} set x {w()}%}}{sub()}{{%{w()} endset {w()}%}}{gap()}{{{{ x }}}}"
        if k < 0.85: return f"{{% macro f(x, y={self.expr(1)}) {w()}%}}{sub()}{{% endmacro %}}{gap()}{{{{ f({self.expr(1)}) }}}}"
        if k < 0.9: return f"{{%{w()} filter {r.choice(self.filters)} {w()}%}}{sub()}{{%{w()} endfilter {w()}%}}"
        if k < 0.93: return f"{{#{w()} c {w()}#}}{gap()}{sub()}"
        return sub() + sub()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("-o", "--out", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "data/chat_templates/own.jsonl"))
    p.add_argument("--random", type=int, default=300)
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()
    warnings.simplefilter("ignore")  # of Python's compiler about 1[0]
    env = build()
    templates = []
    for line in EXPRESSIONS.strip("\n").split("\n"):
        templates += ["{{ " + x + " }}" for x in line.split("|||")]
    templates += re.split(r"\|\|\||\n===\n", TEMPLATES.strip("\n"))
    g = Random(a.seed, env)
    templates += [g.template(2) for _ in range(a.random)]
    cases = [c for c in (case(env, t) for t in dict.fromkeys(templates)) if c]
    with open(a.out, "w") as f:
        f.write(json.dumps({"vars": VARS}) + "\n")
        for c in cases:
            f.write(json.dumps(c) + "\n")
    print(f"{len(cases)} templates, {sum('error' in c for c in cases)} of them errors -> {a.out}")


if __name__ == "__main__":
    main()
