// Shows the boxes that a task needs. Where it is another than was shown, what a person typed stays
// and a sample makes way for another. The page decides that itself: an answer of the server could
// come after more has been typed.
(boxes) => {
  const samples = new Set(Object.values(boxes).flatMap((each) => each.map((box) => box.value)));
  return (language, task, shown, ...typed) => {
    const updates = typed.map((text, i) => {
      const box = boxes[task][i];
      const update = { __type__: "update", visible: Boolean(box) };
      if (!box) return update;
      const isOwn = text?.trim() && !samples.has(text);
      if (task !== shown && !isOwn) update.value = box.value;
      return { ...update, label: box.label[language], lines: box.lines };
    });
    return [task, ...updates];
  };
}
