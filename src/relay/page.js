"use strict";
(function () {
  var every = 2000, stale = document.getElementById("stale");
  function again() { setTimeout(refresh, every); }
  function refresh() {
    if (document.hidden) { again(); return; }
    fetch(location.pathname, { cache: "no-store" }).then(function (answer) {
      if (!answer.ok) throw new Error(answer.status);
      return answer.text();
    }).then(function (text) {
      var fresh = new DOMParser().parseFromString(text, "text/html").querySelector("main");
      if (fresh) document.querySelector("main").replaceWith(fresh);
      stale.hidden = true;
    }).catch(function () { stale.hidden = false; }).then(again);
  }
  again();
})();
