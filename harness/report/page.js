/* Draws the page of the runs in #data (report.h says what they hold). A run's
 * time line, conflicts and list are made when it is opened. */
(function () {
'use strict';

var data = JSON.parse(document.getElementById('data').textContent);
var runs = data.runs.sort((a, b) => a.n - b.n);
var $ = id => document.getElementById(id);

/* --- elements: a name, what it has, what is in it --- */

function make(element, has, inside) {
	Object.keys(has || {}).forEach(name => {
		if (name === 'text')
			element.textContent = has.text;
		else if (has[name] !== undefined)
			element.setAttribute(name, has[name]);
	});
	(inside || []).forEach(child => {
		if (child)
			element.append(child);
	});
	return element;
}

function el(name, has, inside) {
	return make(document.createElement(name), has, inside);
}

function svg(name, has, inside) {
	return make(document.createElementNS('http://www.w3.org/2000/svg', name), has, inside);
}

/* --- words and numbers --- */

function number(n) {
	return n.toLocaleString('en');
}

function many(n, one, more) {
	return number(n) + ' ' + (n === 1 ? one : more || one + 's');
}

function duration(us) {
	if (us < 1000)
		return Math.round(us) + ' µs';
	if (us < 1e6)
		return (us / 1000).toFixed(us < 1e4 ? 1 : 0) + ' ms';
	return us < 1e8 ? (us / 1e6).toFixed(1) + ' s' : Math.round(us / 6e7) + ' min';
}

function bytes(n) {
	if (n < 1000)
		return n + ' B';
	return n < 1e6 ? (n / 1000).toFixed(1) + ' kB' : (n / 1e6).toFixed(1) + ' MB';
}

/* --- marks: arrays in the data, objects here --- */

var kinds = {
	e: ['lane', 'at', 'took', 'edits', 'entries', 'commands'],
	c: ['lane', 'at', 'took', 'call', 'outcome', 'counts', 'step', 'error'],
	r: ['lane', 'at', 'took', 'what', 'fault', 'status', 'outcome', 'events', 'sent', 'got'],
	h: ['lane', 'at', 'what'],
	s: ['at', 'line'],
	x: ['lane', 'at', 'conflicts']
};

function mark(array) {
	var m = { kind: array[0], took: 0 };

	kinds[m.kind].forEach((name, i) => { m[name] = array[i + 1]; });
	m.end = m.at + m.took;
	m.died = m.kind === 'c' && m.outcome === 'died';
	m.bad = m.kind === 'c' ? !/^(TDSYNC_)?OK$/.test(m.outcome) : m.kind === 'r' &&
	    (m.fault !== '' || m.outcome !== '' || ![200, 304].includes(m.status));
	return m;
}

/* The call in which a conflict came about: the first that took a replica which
 * knows of it beyond the event that was kept. */
function call_of(run, calls, conflict) {
	return calls.find(m => m.counts.pulled && m.counts.server_seq >= conflict.seq &&
	    (!conflict.where || conflict.where.split(' ').includes(who(run, m.lane))));
}

/* All marks of a run in order, conflicts among them: a mark for those of a call. */
function marks_of(run) {
	var marks = run.marks.map(mark);
	var calls = marks.filter(m => m.kind === 'c');

	calls.sort((a, b) => a.end - b.end);
	run.conflicts.forEach((conflict, i) => {
		var call = call_of(run, calls, conflict);

		if (call && call.conflicts)
			call.conflicts.push(i);
		else if (call)
			call.conflicts = [i];
	});
	calls.forEach(m => {
		if (m.conflicts)
			marks.push(mark(['x', m.lane, m.end, m.conflicts]));
	});
	return marks.sort((a, b) => a.at - b.at || a.end - b.end);
}

function who(run, lane) {
	return lane < 0 ? 'the server' : run.lanes[lane][0];
}

function counted(counts) {
	return Object.keys(counts).filter(name => !['server_seq', 'steps'].includes(name))
	    .map(name => ', ' + name + ' ' + number(counts[name])).join('');
}

/* A mark in words. */
function words(run, m) {
	var at = duration(m.at) + ': ';

	if (m.kind === 's')
		return at + 'script: ' + m.line.trim();
	at += who(run, m.lane) + ': ';
	if (m.kind === 'h')
		return at + m.what;
	if (m.kind === 'e')
		return at + many(m.edits, 'edit') + ' (' + Object.keys(m.commands).map(name =>
		    name + (m.commands[name] > 1 ? ' × ' + m.commands[name] : '')).join(', ') + '), ' +
		    many(m.entries, 'entry', 'entries') + ' of the action log';
	if (m.kind === 'x')
		return at + many(m.conflicts.length, 'conflict') + ': ' +
		    m.conflicts.slice(0, 5).map(i => run.conflicts[i]).map(c =>
		    c.type + ' ' + c.id + ' ' + c.kind).join(', ') + (m.conflicts.length > 5 ? ' …' : '');
	if (m.kind === 'c')
		return at + m.call + ', ' + m.outcome.replace('TDSYNC_', '') +
		    (m.error ? ' (' + m.error + ')' : '') + counted(m.counts) +
		    (m.step && m.bad ? ', after step ' + m.step : '') + ', took ' + duration(m.took);
	return at + m.what + ' request' + (m.events ? ' of ' + many(m.events, 'event') : '') +
	    (m.fault ? ', fault: ' + m.fault : '') + ', ' +
	    (m.status ? 'answer ' + m.status : 'no answer') +
	    (m.outcome ? ' (' + m.outcome.replace('RC_', '') + ')' : '') +
	    ', sent ' + bytes(m.sent) + ', got ' + bytes(m.got) + ', took ' + duration(m.took);
}

/* --- the time line --- */

var SERVER = 52, FIRST = 118, APART = 62;

function lane_y(lane) {
	return lane < 0 ? SERVER : FIRST + lane * APART;
}

/* What is written beside a mark. */
function label(m) {
	var text = m.kind === 'h' ? m.what : m.fault || '';

	return text.length > 24 ? text.slice(0, 23) + '…' : text;
}

/* How much room a mark needs at least. */
function room(m) {
	return m.kind === 'e' ? 26 : m.kind === 'x' ? 34 : m.kind === 'h' ? 26 + 6.4 * label(m).length :
	    m.kind === 'r' ? (m.fault ? 16 + 6.4 * label(m).length : 8) : m.kind === 'c' ? 12 : 0;
}

/*
 * Where marks begin and end: x grows with time, but where much happens it
 * gets more room, where nothing does less. Sets .x and .x2; returns the width
 * and labels for the time's axis.
 */
function stretch(marks) {
	var points = [], x = 14, before = 0, labels = [], last = -90;

	marks.forEach(m => { points.push({ t: m.at, m: m }, { t: m.end, m: m, end: true }); });
	points.sort((a, b) => a.t - b.t);
	points.forEach(p => {
		if (p.t > before)
			x += 4 + Math.min(36, (p.t - before) / 250);
		before = p.t;
		if (p.end)
			p.m.x2 = x = Math.max(x, p.m.x + room(p.m));
		else
			p.m.x = x;
		if (x - last >= 90) {
			labels.push([x, duration(p.t)]);
			last = x;
		}
	});
	return { width: x + 60, labels: labels };
}

/* A path through points. */
function line(points) {
	return 'M' + points.map(p => p.join(' ')).join('L');
}

function cross(x, y) {
	return svg('path', { class: 'cross', d: line([[x - 5, y - 5], [x + 5, y + 5]]) +
	    line([[x + 5, y - 5], [x - 5, y + 5]]) });
}

/* Requests that a fault kept from the server, and answers that it kept from the
 * client. */
var never = ['lost-request', 'busy', 'limited', 'gateway', 'too-large', 'html', 'cut-request'];
var unheard = ['lost-answer', 'late', 'cut-answer', 'hang', 'killed', 'length', 'garbled'];

/* Up to the server and back, as far as it went. */
function draw_request(m) {
	var y = lane_y(m.lane), top = SERVER + 6, middle = (m.x + m.x2) / 2, half = (y + top) / 2;
	var parts = [], way = [[m.x, y], [middle, top], [m.x2, y]];

	if (never.includes(m.fault))
		way = [[m.x, y], [(m.x + middle) / 2, half]];
	else if (unheard.includes(m.fault))
		way = [[m.x, y], [middle, top], [(m.x2 + middle) / 2, half]];
	m.shape = way;
	parts.push(svg('path', { class: 'way ' + m.what + (m.bad ? ' bad' : ''), d: line(way) }));
	if (way[way.length - 1][1] === half)
		parts.push(cross(way[way.length - 1][0], half));
	if (m.fault)
		parts.push(svg('text', { class: 'fault', x: m.x + 12, y: y - 14, text: label(m) }));
	return parts;
}

/* The signs of a kind of mark; .shape is where a click means it. */
var draw = {
	e: m => {
		var x = (m.x + m.x2) / 2, y = lane_y(m.lane);

		m.shape = [[m.x, y], [m.x2, y]];
		return [svg('rect', { class: 'edit', x: x - 11, y: y - 9, width: 22, height: 18, rx: 9 }),
		    svg('text', { class: 'in', x: x, y: y + 4, text: m.edits > 999 ? '1k+' : m.edits })];
	},
	c: m => {
		var y = lane_y(m.lane);

		m.shape = [[m.x, y + 10], [m.x2, y + 10]];
		return [svg('rect', { class: 'call' + (m.bad ? ' bad' : ''), x: m.x, y: y + 5,
		    width: m.x2 - m.x, height: 10, rx: 3 }), m.died ? cross(m.x2, y + 10) : null];
	},
	r: draw_request,
	h: m => {
		var y = lane_y(m.lane);

		m.shape = [[m.x, y], [m.x2 - 8, y]];
		return [svg('path', { class: 'diamond', d: 'M' + (m.x + 8) + ' ' + (y - 8) +
		    'l8 8l-8 8l-8 -8z' }),
		    svg('text', { class: 'what', x: m.x + 20, y: y + 4, text: label(m) })];
	},
	s: m => {
		m.shape = [[m.x, 20], [m.x, 34]];
		return [svg('path', { class: 'step', d: 'M' + m.x + ' 22v12' })];
	},
	x: m => {
		var x = (m.x + m.x2) / 2, y = lane_y(m.lane) + 27, n = m.conflicts.length;
		var wide = n > 1 ? 14 + 8 * String(n).length : 9;

		m.shape = [[x - 6, y], [x + 6, y]];
		return [svg('rect', { class: 'sign', x: x - wide, y: y - 9, width: 2 * wide, height: 18,
		    rx: 9 }),
		    svg('text', { class: 'on', x: x, y: y + 4, text: n > 1 ? '≠ ' + n : '≠' })];
	}
};

/* The order in which they are drawn: what is small comes on top. */
var layers = 'scrhex';

/* The distance of a point from a mark's shape. */
function distance(m, x, y) {
	var best = Infinity, i;

	for (i = 0; i + 1 < m.shape.length; i++) {
		var a = m.shape[i], b = m.shape[i + 1], dx = b[0] - a[0], dy = b[1] - a[1];
		var t = ((x - a[0]) * dx + (y - a[1]) * dy) / (dx * dx + dy * dy || 1);

		t = Math.max(0, Math.min(1, t));
		best = Math.min(best, Math.hypot(a[0] + t * dx - x, a[1] + t * dy - y));
	}
	return best - layers.indexOf(m.kind); /* of two at one place, the one on top */
}

/* They stay at the left while the picture is scrolled. */
function lane_names(run) {
	return el('div', { class: 'lanes', 'aria-hidden': 'true' }, [
		el('div', { style: 'top:' + SERVER + 'px', text: 'server' })
	].concat(run.lanes.map((lane, i) => {
		return el('div', { style: 'top:' + lane_y(i) + 'px' }, [lane[0],
		    el('small', { text: 'schema ' + lane[1] })]);
	})));
}

/* The picture, the mark that was chosen in words, what the signs mean. */
function time_line(run, marks, show_conflict) {
	var scale = stretch(marks), height = lane_y(run.lanes.length - 1) + 46, chosen = -1;
	var groups = marks.map(m => svg('g', {}, draw[m.kind](m)));
	var picture = svg('svg', { width: scale.width, height: height, 'aria-hidden': 'true' });
	var detail = el('p', { class: 'detail', role: 'status',
	    text: 'Choose a mark: tap it, or use the arrow keys.' });
	var scroll = el('div', { class: 'scroll', tabindex: '0', role: 'group',
	    'aria-label': 'Time line, ' + many(marks.length, 'mark') +
	    '; the arrow keys go through them' }, [picture]);

	scale.labels.forEach(label => {
		picture.append(svg('path', { class: 'tick', d: 'M' + label[0] + ' 18V' + height }),
		    svg('text', { x: label[0], y: 13, text: label[1] }));
	});
	[-1].concat(run.lanes.map((_, i) => i)).forEach(lane => {
		picture.append(svg('path', { class: 'lane', d: 'M0 ' + lane_y(lane) + 'H' + scale.width }));
	});
	layers.split('').forEach(kind => {
		marks.forEach((m, i) => {
			if (m.kind === kind)
				picture.append(groups[i]);
		});
	});

	function choose(i, by_key) {
		if (groups[chosen])
			groups[chosen].removeAttribute('class');
		chosen = i;
		groups[i].setAttribute('class', 'chosen');
		detail.textContent = words(run, marks[i]);
		if (marks[i].kind === 'x' && !by_key)
			show_conflict(marks[i].conflicts[0]);
		if (by_key && (marks[i].x < scroll.scrollLeft + 20 ||
		    marks[i].x2 > scroll.scrollLeft + scroll.clientWidth - 20))
			scroll.scrollLeft = marks[i].x - scroll.clientWidth / 3;
	}

	picture.addEventListener('click', event => {
		var box = picture.getBoundingClientRect(), best = -1, least = 24;

		marks.forEach((m, i) => {
			var far = distance(m, event.clientX - box.left, event.clientY - box.top);

			if (far < least) {
				best = i;
				least = far;
			}
		});
		if (best >= 0)
			choose(best, false);
	});
	scroll.addEventListener('keydown', event => {
		var to = { ArrowRight: chosen + 1, ArrowLeft: chosen - 1, Home: 0,
		    End: marks.length - 1 }[event.key];

		if (event.key === 'Enter' && chosen >= 0 && marks[chosen].kind === 'x')
			show_conflict(marks[chosen].conflicts[0]);
		if (to === undefined || !marks.length)
			return;
		event.preventDefault();
		choose(Math.max(0, Math.min(marks.length - 1, to)), true);
	});
	return [el('div', { class: 'time' }, [lane_names(run), scroll]), detail, legend()];
}

/* What the signs mean: a picture of 24 by 18, and a word. */
function legend() {
	var signs = [
		['edits, how many', svg('rect', { class: 'edit', x: 1, y: 1, width: 22, height: 16,
		    rx: 8 }),
		    svg('text', { class: 'in', x: 12, y: 13, text: '3' })],
		['call of the client', svg('rect', { class: 'call', y: 4, width: 24, height: 10, rx: 3 })],
		['call that failed', svg('rect', { class: 'call bad', x: 1, y: 4, width: 22, height: 10,
		    rx: 3 })],
		['push', svg('path', { class: 'way push', d: 'M4 17L12 2L20 17' })],
		['pull', svg('path', { class: 'way pull', d: 'M4 17L12 2L20 17' })],
		['other request', svg('path', { class: 'way', d: 'M4 17L12 2L20 17' })],
		['met a fault', svg('path', { class: 'way push bad', d: 'M4 17L12 3' }), cross(14, 8)],
		['a line of the script', svg('path', { class: 'step', d: 'M12 3v12' })],
		['happened there', svg('path', { class: 'diamond', d: 'M12 1l8 8l-8 8l-8 -8z' })],
		['conflict', svg('circle', { class: 'sign', cx: 12, cy: 9, r: 8 })]
	];

	return el('ul', { class: 'legend', 'aria-label': 'Signs' }, signs.map(sign => el('li', {}, [
		svg('svg', { width: 24, height: 18, 'aria-hidden': 'true' }, sign.slice(1)), sign[0]
	])));
}

/* --- conflicts, and what differs --- */

/* A text whose middle, where it is not the other's, is marked. */
function marked(text, other) {
	var from = 0, to = text.length, end = other.length;

	while (from < to && from < end && text[from] === other[from])
		from++;
	while (to > from && end > from && text[to - 1] === other[end - 1]) {
		to--;
		end--;
	}
	return [text.slice(0, from), to > from ? el('mark', { text: text.slice(from, to) }) : '',
	    text.slice(to)];
}

function spelt(value) {
	return value === undefined ? '(none)' : value === null ? 'NULL' :
	    value === '' ? '(empty)' : String(value);
}

function value(mine, others, differs) {
	var both = typeof mine === 'string' && mine !== '' && typeof others === 'string';
	var none = mine === undefined || mine === null || mine === '';

	return el('div', { class: 'value' + (none ? ' nothing' : '') +
	    (differs && mine !== undefined ? ' differs' : '') },
	    differs && both ? marked(mine, others) : [spelt(mine)]);
}

function fields(list) {
	var all = [];

	list.forEach(f => {
		all.push(el('div', { class: 'field', text: f.name }), value(f.kept, f.lost, f.differs),
		    value(f.lost, f.kept, f.differs));
	});
	return all;
}

function author(title, side) {
	var more = [side.time, side.seq ? 'event ' + side.seq : '', side.who ? '' : side.user];

	return el('div', { class: 'head' }, [title, side.who ? ', by ' + side.who : '',
	    el('div', { class: 'soft', text: more.filter(Boolean).join(', ') })]);
}

var happened = {
	replaced: 'A row was written over', removed: 'A row went with another one',
	field: 'A field was written over', delete: 'A row was deleted',
	edit_of_deleted: 'An edit of a deleted row', create: 'A row was created again',
	cascade: 'A row went with another one', edge: 'A dependency was dropped'
};

function conflict_card(c, i) {
	var differ = c.fields.filter(f => f.differs);
	var equal = c.fields.filter(f => !f.differs);
	var about = [c.seq ? 'event ' + c.seq : '', c.where ? 'known to ' + c.where : '',
	    c.certain ? '' : 'not certain', c.time];

	return el('div', { class: 'card conflict-card', tabindex: '-1' }, [
		el('h4', { text: (i + 1) + '. ' + (happened[c.kind] || c.kind) + ': ' + c.type + ' ' +
		    c.id }),
		el('p', { class: 'soft', text: about.filter(Boolean).join(', ') }),
		el('div', { class: 'sides' },
		    [author('Kept', c.kept), author('Lost', c.lost)].concat(fields(differ))),
		equal.length === 0 ? null : el('details', {}, [
			el('summary', { class: 'soft',
			    text: many(equal.length, 'field') + ' equal on both sides' }),
			el('div', { class: 'sides' }, fields(equal))
		])
	]);
}

var SOME = 10;

/* The cards; of many, some at first. Returns also a way to go to one. */
function conflict_list(run) {
	var list = el('div'), more = null;

	function add(from, to) {
		list.append(...run.conflicts.slice(from, to).map((c, i) => conflict_card(c, from + i)));
	}
	function all() {
		if (more) {
			more.remove();
			more = null;
			add(SOME, run.conflicts.length);
		}
	}
	add(0, SOME);
	if (run.conflicts.length > SOME) {
		more = el('button', { type: 'button',
		    text: 'Show the other ' + (run.conflicts.length - SOME) });
		more.addEventListener('click', all);
	}
	return {
		parts: [list, more],
		show: i => {
			if (i >= SOME)
				all();
			list.children[i].focus();
			list.children[i].scrollIntoView({ block: 'nearest' });
		}
	};
}

function row_card(row) {
	return el('div', { class: 'card first' }, [
		el('h4', { text: 'The first difference in ' + row.replica + ': ' + row.table + ' ' +
		    row.id + (row.column ? ', ' + row.column : '') }),
		el('div', { class: 'sides' }, [
			el('div', { class: 'head', text: 'In ' + row.replica }),
			el('div', { class: 'head', text: 'By the log' }),
			value(row.here, row.log, true), value(row.log, row.here, true)
		])
	]);
}

/* --- a run --- */

/* Faults that were injected, and clients that were killed. */
function count_faults(run) {
	return run.marks.filter(m => m[0] === 'r' && m[5] !== '' ||
	    m[0] === 'c' && m[5] === 'died').length;
}

function run_body(run) {
	var marks = marks_of(run), conflicts = conflict_list(run), list;
	var body = el('div', { class: 'body' }, [
		run.noticed && run.outcome === 'passed' ?
		    el('p', { text: 'The check noticed: ' + run.noticed }) : null
	].concat(run.rows.map(row_card), [
		run.again ? el('p', {}, ['Again: ', el('code', { text: run.again })]) : null,
		run.kept ? el('p', {}, ['Kept in: ', el('code', { text: run.kept })]) : null,
		el('h3', { text: 'Time line' })
	], marks.length ? time_line(run, marks, conflicts.show) :
	    [el('p', { text: 'Nothing was recorded.' })]));

	if (run.left_out)
		body.append(el('p', { text: many(run.left_out, 'further ordinary mark') +
		    (run.left_out === 1 ? ' is' : ' are') + ' left out; no fault is.' }));
	if (marks.length) {
		list = el('details', {}, [el('summary', { text: 'All marks as a list' })]);
		list.addEventListener('toggle', () => {
			list.append(el('ol', { class: 'list' }, marks.map(m => {
				return el('li', { text: words(run, m) });
			})));
		}, { once: true });
		body.append(list);
	}
	if (run.healed.length) {
		list = el('details', {}, [el('summary', {
			text: many(run.healed.length, 'event') + ' of the server itself' })]);
		list.append(el('ol', { class: 'list' }, run.healed.map(h => el('li', {
			text: 'event ' + h.seq + ': ' + h.action + ' ' + h.type + ' ' + h.id +
			    ', because of event ' + h.cause + ' (' + h.reason + ')' }))));
		body.append(list);
	}
	if (run.conflicts.length) {
		body.append(el('h3', { text: many(run.conflicts.length, 'conflict') }));
		conflicts.parts.forEach(part => {
			if (part)
				body.append(part);
		});
	}
	return body;
}

function run_row(run) {
	var row = el('details', { class: 'run ' + run.outcome, id: 'run-' + run.n }, [
		el('summary', {}, [
			el('span', { class: 'badge', text: run.outcome }),
			el('span', { class: 'name', text: run.scenario }),
			el('span', { text: run.via }),
			el('span', { text: 'seed ' + run.seed }),
			el('span', { text: many(run.events, 'event') }),
			el('span', { text: duration(run.ms * 1000) }),
			run.faults ? el('span', { class: 'fault', text: many(run.faults, 'fault') }) : null,
			run.conflicts.length ? el('span', { class: 'conflict',
			    text: many(run.conflicts.length, 'conflict') }) : null,
			run.healed.length ? el('span', {
			    text: run.healed.length + ' by the server' }) : null,
			el('span', { class: 'about', text: run.about }),
			run.why ? el('span', { class: 'cause', text: run.why }) : null
		])
	]);

	row.addEventListener('toggle', () => { row.append(run_body(run)); }, { once: true });
	return row;
}

/* --- which runs are shown --- */

/* The words of a mark that one may look for. */
function mark_text(m) {
	return m[0] === 'r' || m[0] === 'c' ? m[5] : m[0] === 'h' ? m[3] :
	    m[0] === 'e' ? Object.keys(m[6]) : '';
}

/* What the text is looked for in. */
function haystack(run) {
	if (run.text === undefined)
		run.text = JSON.stringify([run.scenario, run.via, 'seed ' + run.seed, run.outcome,
		    run.why, run.about, run.noticed, run.rows, run.marks.map(mark_text),
		    run.conflicts.map(c => [c.kind, c.type, c.id, c.fields.map(f => f.name)])
		]).toLowerCase();
	return run.text;
}

var orders = {
	failed: (a, b) => (b.outcome === 'failed') - (a.outcome === 'failed'),
	planned: () => 0,
	slow: (a, b) => b.ms - a.ms,
	faults: (a, b) => b.faults - a.faults,
	conflicts: (a, b) => b.conflicts.length - a.conflicts.length
};

function matches(run, needles) {
	return ['outcome', 'scenario', 'via'].every(name => {
		return $(name).value === '' || $(name).value === run[name];
	}) && needles.every(needle => haystack(run).includes(needle));
}

var shown = runs;

function filter() {
	var needles = $('text').value.toLowerCase().split(/\s+/).filter(Boolean);
	var failed;

	shown = runs.filter(run => {
		var fits = matches(run, needles);

		run.row.hidden = !fits;
		return fits;
	});
	failed = shown.filter(run => run.outcome === 'failed').length;
	$('shown').textContent = (shown.length === runs.length ? many(runs.length, 'run') :
	    number(shown.length) + ' of ' + many(runs.length, 'run')) +
	    (failed ? ', ' + number(failed) + ' failed' : '');
	charts();
}

function order() {
	runs.slice().sort((a, b) => {
		return orders[$('order').value](a, b) || a.n - b.n;
	}).forEach(run => { $('runs').append(run.row); });
}

/* --- charts --- */

/* The requests of one kind in the runs that are shown, that met no fault. */
function requests(what) {
	var found = [];

	shown.forEach(run => {
		run.marks.forEach(m => {
			if (m[0] === 'r' && m[4] === what && m[5] === '' && m[6] === 200 && m[7] === '')
				found.push(m);
		});
	});
	return found;
}

/* How many values lie in each step: up to limits[0], above that up to limits[1] … */
function histogram(values, limits) {
	var n = limits.map(() => 0);

	values.forEach(v => {
		var i = limits.findIndex(limit => v <= limit);

		n[i < 0 ? limits.length - 1 : i]++;
	});
	return n;
}

/* Columns for pushes and pulls side by side. */
function columns(title, limits, name, values) {
	var names = Object.keys(values), series = names.map(what => histogram(values[what], limits));
	var all = series[0].map((n, i) => n + series[1][i]);
	var from = all.findIndex(Boolean), to = all.length;
	var room = $('figures').clientWidth; /* for one or, side by side, two */
	var width = Math.max(280, room > 860 ? room / 2 - 12 : room);
	var height = 190, top = 18, base = height - 24, picture, step, most, every;

	if (from < 0)
		return el('p', { text: 'No such request.' });
	while (!all[to - 1])
		to--;
	most = Math.max.apply(null, series[0].concat(series[1]));
	step = (width - 8) / (to - from);
	every = Math.ceil(48 / step);
	picture = svg('svg', { viewBox: '0 0 ' + width + ' ' + height, role: 'img',
	    'aria-label': title });
	picture.append(
	    svg('path', { class: 'axis', d: line([[0, base], [width, base]]) }),
	    svg('path', { class: 'axis', d: line([[0, top], [width, top]]) }),
	    svg('text', { x: 2, y: top - 5, text: number(most) }));
	limits.slice(from, to).forEach((limit, i) => {
		series.forEach((n, k) => {
			var tall = n[from + i] ? Math.max(1.5, (base - top) * n[from + i] / most) : 0;
			var bar = Math.min(26, step * 0.4);

			picture.append(svg('rect', { class: names[k], y: base - tall, height: tall,
			    x: 4 + step * (i + 0.5) + (k ? 1 : -bar - 1), width: bar }, [
				svg('title', { text: names[k] + ', ' + name(limit, limits[from + i - 1]) +
				    ': ' + number(n[from + i]) })
			]));
		});
		if (i % every === 0)
			picture.append(svg('text', { x: 4 + step * (i + 0.5), y: height - 8,
			    'text-anchor': 'middle', text: name(limit) }));
	});
	return picture;
}

function percentile(sorted, p) {
	return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * p) - 1)];
}

/* The same in figures, by kind of request; a value is shown by show(). */
function table(show, values) {
	var heads = ['', 'count', 'median', '90 %', '99 %', 'most'];

	return el('table', {}, [
		el('thead', {}, [el('tr', {}, heads.map(text => el('th', { scope: 'col', text: text })))]),
		el('tbody', {}, Object.keys(values).map(what => {
			var sorted = values[what].slice().sort((a, b) => a - b);

			return el('tr', {}, [
				el('th', { scope: 'row' }, [el('span', { class: 'key ' + what, text: what })]),
				el('td', { text: number(sorted.length) })
			].concat([0.5, 0.9, 0.99, 1].map(p => el('td', {
				text: sorted.length ? show(percentile(sorted, p)) : '–'
			}))));
		}))
	]);
}

var LATENCIES = [20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6, 1e7];
var BATCHES = [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000];

/* What a column is called: by its limit alone, or by both. */
function times(limit, before) {
	if (before !== undefined)
		return 'up to ' + duration(limit);
	return limit < 1000 ? limit + ' µs' : limit < 1e6 ? limit / 1000 + ' ms' : limit / 1e6 + ' s';
}

function events(limit, before) {
	return before === undefined || before + 1 === limit ? number(limit) :
	    number(before + 1) + ' to ' + number(limit);
}

/* A chart of one member of the requests' marks. */
function chart(title, what, limits, name, show, member) {
	var values = {};

	['push', 'pull'].forEach(kind => {
		values[kind] = requests(kind).map(m => m[member]);
	});
	return el('figure', {}, [el('figcaption', { text: title + ': up to …' }),
	    columns(what, limits, name, values), table(show, values)]);
}

function charts() {
	if ($('charts').open)
		$('figures').replaceChildren(
			chart('Latency of a request', 'How many requests took how long', LATENCIES, times,
			    duration, 3),
			chart('Events in a push or page', 'How many requests had how many events', BATCHES,
			    events, number, 8));
}

/* --- the whole --- */

function summary() {
	function total(test) {
		return runs.filter(test).length;
	}
	function sum(of) {
		return runs.reduce((n, run) => n + of(run), 0);
	}
	var failed = total(run => run.outcome === 'failed');
	var passed = total(run => run.outcome === 'passed');
	var skipped = runs.length - passed - failed;
	var list = [['Runs', runs.length], ['Passed', passed], ['Failed', failed], ['Skipped', skipped],
	    ['Events', sum(run => run.events)], ['Faults', sum(run => run.faults)],
	    ['Conflicts', sum(run => run.conflicts.length)]];

	list.concat([['Time', duration(data.ms * 1000)]]).forEach(item => {
		if (item[0] !== 'Skipped' || skipped)
			$('summary').append(el('div', {}, [
				el('dt', { text: item[0] }),
				el('dd', { class: item[0] === 'Failed' && failed ? 'cause' : undefined,
				    text: item[1].toLocaleString('en') })
			]));
	});
	$('made').textContent = data.made.replace('T', ' ').replace('Z', ' UTC') +
	    ', td-sync-harness' + data.command;
	document.title = (failed ? number(failed) + ' failed, ' : '') + number(passed) +
	    ' passed: td-sync harness';
}

function choices(name) {
	var counts = {};

	runs.forEach(run => { counts[run[name]] = (counts[run[name]] || 0) + 1; });
	Object.keys(counts).sort().forEach(value => {
		$(name).append(el('option', { value: value, text: value + ' (' + counts[value] + ')' }));
	});
}

runs.forEach(run => {
	run.faults = count_faults(run);
	run.row = run_row(run);
});
summary();
['outcome', 'scenario', 'via'].forEach(choices);
order();
filter();
$('filters').addEventListener('input', filter);
$('filters').addEventListener('change', filter);
$('order').addEventListener('change', order);
$('filters').addEventListener('submit', event => { event.preventDefault(); });
$('filters').addEventListener('reset', () => {
	setTimeout(() => { /* the fields have their values then */
		order();
		filter();
	});
});
$('charts').addEventListener('toggle', charts);
addEventListener('resize', charts);
}());
